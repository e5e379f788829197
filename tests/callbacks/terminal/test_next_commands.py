"""Commands that are proposed after a run."""

from pathlib import Path

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from callbacks.terminal.next_commands import next_commands


@pytest.mark.parametrize(("uv", "python", "before"), [(False, "python", ""), (True, "uv run", "uv run ")])
def test_commands_can_be_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uv: bool, python: str, before: str
) -> None:
    monkeypatch.setattr("sys.argv", ["/somewhere/train.py"])
    monkeypatch.setenv("UV", "uv") if uv else monkeypatch.delenv("UV", raising=False)
    run = Path("a run")
    logs = [TensorBoardLogger(tmp_path, "tiny", version=0), CSVLogger(tmp_path, "tiny", version=0)]
    found = list(next_commands(Trainer(logger=logs, accelerator="cpu"), run, run / "best.ckpt"))
    words = "'--config=a run/config.yaml' '--ckpt_path=a run/best.ckpt'"
    folder = f"{tmp_path}/tiny/version_0"
    assert found == [
        f"{python} train.py validate {words}",
        f"{python} train.py predict {words} '--predictions.output=a run/predictions.csv'",
        f"{before}tensorboard --logdir {folder}",
        f"less {folder}/metrics.csv",
    ]
