"""A partial epoch ends once, and with its data."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Timer
from typing_extensions import override

from sextant.resume.partial_epoch import PartialEpoch
from sextant.resume.run_configuration import RunConfiguration
from tests.datamodules.recorder import Recorder, bare_trainer
from tests.sextant.tiny import PointsData


class Saves(Callback):
    """Writes a checkpoint after a step."""

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        self.step = step

    @override
    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


class Ends(Callback):
    """Keeps the epochs that ended."""

    def __init__(self) -> None:
        self.epochs: list[int] = []

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.epochs.append(trainer.current_epoch)


class RenamedData(PointsData):
    """The same data under another name."""


@pytest.mark.parametrize("data", [PointsData, RenamedData])
@pytest.mark.parametrize("limit", [{"max_epochs": 2}, {"max_steps": 8}], ids=str)
def test_resumed_run_trains_on_what_is_left_and_each_epoch_ends_once(
    tmp_path: Path, data: type[PointsData], limit: dict[str, int]
) -> None:
    whole = Recorder()
    configured = RunConfiguration({"data": {"class_path": "tests.sextant.tiny.PointsData"}})
    bare_trainer(tmp_path, callbacks=[Saves(tmp_path / "a.ckpt", 3), configured], **limit).fit(
        whole, datamodule=PointsData(batch_size=2)
    )
    assert len(whole.batches) == 8
    resumed, ends = Recorder(), Ends()
    bare_trainer(tmp_path, callbacks=[PartialEpoch(), ends], **limit).fit(
        resumed, datamodule=data(batch_size=2), ckpt_path=str(tmp_path / "a.ckpt")
    )
    assert resumed.batches == whole.batches[3:]
    assert ends.epochs == [0, 1]


@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_limit_of_time_counts_for_each_command(tmp_path: Path, interval: str) -> None:
    """Also where the commands before have used it up."""

    def fit(callbacks: list[Callback], ckpt_path: Path | None = None) -> list[list[int]]:
        recorder = Recorder()
        limit = Timer(timedelta(hours=1), interval)
        bare_trainer(tmp_path, max_epochs=2, callbacks=[limit, *callbacks]).fit(
            recorder, datamodule=PointsData(batch_size=2), ckpt_path=ckpt_path
        )
        return recorder.batches

    whole = fit([Saves(tmp_path / "a.ckpt", 3)])
    checkpoint = torch.load(tmp_path / "a.ckpt", weights_only=True)
    (timer,) = (state for name, state in checkpoint["callbacks"].items() if name.startswith("Timer"))
    timer["time_elapsed"]["train"] = 3601.0
    torch.save(checkpoint, tmp_path / "b.ckpt")
    assert fit([PartialEpoch()], tmp_path / "b.ckpt") == whole[3:]
    assert fit([], tmp_path / "b.ckpt") != whole[3:]  # Lightning adds the times


def test_validation_does_not_count_epochs(tmp_path: Path) -> None:
    bare_trainer(tmp_path, max_epochs=1, callbacks=[Saves(tmp_path / "a.ckpt", 1)]).fit(
        Recorder(), datamodule=PointsData()
    )
    before = torch.load(tmp_path / "a.ckpt", weights_only=True)["loops"]
    trainer = bare_trainer(tmp_path, callbacks=[PartialEpoch()])
    trainer.validate(Recorder(), datamodule=PointsData(), ckpt_path=str(tmp_path / "a.ckpt"), verbose=False)
    assert torch.load(tmp_path / "a.ckpt", weights_only=True)["loops"] == before
    assert trainer.current_epoch == 0
