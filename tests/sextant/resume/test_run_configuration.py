"""The configuration of a run is in its folder, as a file that starts another one."""

from pathlib import Path

import pytest
import yaml
from lightning.pytorch.loggers import CSVLogger

from sextant.resume.run_configuration import RunConfiguration
from tests.datamodules.recorder import Recorder, bare_trainer
from tests.sextant.tiny import PointsData

CONFIGURATION = {"seed_everything": 3, "model": {"class_path": "B", "init_args": {"b": None, "a": "\u00e4"}}}


@pytest.mark.parametrize("fast", [False, True])
def test_file_holds_the_configuration_in_its_order_unless_a_run_only_tries_its_steps(
    tmp_path: Path, fast: bool
) -> None:
    trainer = bare_trainer(tmp_path, max_epochs=1, fast_dev_run=fast)
    trainer.logger = CSVLogger(tmp_path, name="", version="")
    trainer.callbacks.append(RunConfiguration(CONFIGURATION, "config.yaml"))  # type: ignore[attr-defined]
    trainer.fit(Recorder(), datamodule=PointsData())
    files = [file.name for file in tmp_path.iterdir() if "config" in file.name]
    assert files == ([] if fast else ["config.yaml"])
    if not fast:
        read = yaml.safe_load((tmp_path / "config.yaml").read_text(encoding="utf-8"))
        assert read == CONFIGURATION
        assert list(read["model"]["init_args"]) == ["b", "a"]
