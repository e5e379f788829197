"""The installed Lightning still has what the library leans on of its loggers, and means the same by it."""

from pathlib import Path

import pytest
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from sextant.lightning_internals import attach
from sextant.logs import lightning_loggers as loggers
from tests.datamodules.recorder import bare_trainer


def test_table_of_a_csv_logger_is_gone_on_with(tmp_path: Path) -> None:
    for step in (0, 1):
        logger = CSVLogger("nowhere", name="other")
        loggers.place_in_folder(logger, tmp_path / "name" / "mine")
        assert (logger.save_dir, logger.name, logger.version) == (str(tmp_path), "name", "mine")
        loggers.append_to_csv(logger)
        logger.log_metrics({"a": 1.0, f"b{step}": 2.0}, step)
        logger.save()
    text = (tmp_path / "name" / "mine" / "metrics.csv").read_text().splitlines()
    assert text == ["a,b0,b1,step", "1.0,2.0,,0", "1.0,,2.0,1"]
    other = CSVLogger(tmp_path, "name", "mine")
    loggers.append_to_csv(other, "other.csv")
    other.log_metrics({"c": 1.0}, 5)
    other.save()
    assert (tmp_path / "name" / "mine" / "other.csv").read_text().splitlines() == ["c,step", "1.0,5"]


def test_tensorboard_writes_into_the_folder_that_it_is_given(tmp_path: Path) -> None:
    logger = TensorBoardLogger("nowhere")
    loggers.place_in_folder(logger, tmp_path / "name" / "mine", purge_step=3)
    loggers.open_log(logger)
    logger.experiment.flush()
    (file,) = (tmp_path / "name" / "mine").iterdir()
    starts = [event.step for event in EventFileLoader(str(file)).Load() if event.HasField("session_log")]
    assert starts[0] == 3


def test_settings_of_a_module_are_logged(tmp_path: Path) -> None:
    trainer = bare_trainer(tmp_path)
    trainer.logger = TensorBoardLogger(tmp_path, "", "")
    module = LightningModule()
    module.save_hyperparameters({"rate": 3})
    attach(trainer, module, LightningDataModule())
    trainer.strategy._lightning_module = module
    loggers.log_hyperparams(trainer)
    assert (tmp_path / "hparams.yaml").read_text() == "rate: 3\n"


def test_folder_of_mlflow_is_known_where_it_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Logger(MLFlowLogger):
        def __init__(self, uri: str) -> None:
            self._tracking_uri = uri

    for uri, folder in (("file:/a%20b/c", "/a b/c"), ("file:///a/c", "/a/c"), ("file:a/c", "a/c"), ("a/c", "a/c")):
        assert loggers.mlflow_store(Logger(uri)) == Path(folder)
    assert loggers.mlflow_store(Logger("http://there/a")) is None
    assert loggers.mlflow_store(Logger("sqlite:///a.db")) is None
