"""Metrics of a partial epoch cover the whole epoch after a restart."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor
from typing_extensions import override

from sextant.resume.epoch_metrics import EpochMetrics
from sextant.resume.partial_epoch import PartialEpoch
from tests.datamodules.recorder import bare_trainer
from tests.sextant.tiny import Line, PointsData


class Saves(Callback):
    """Writes a checkpoint in the middle of the epoch, and keeps its loss at the end."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.loss = torch.nan

    @override
    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if self.path is not None and trainer.global_step == 2:
            trainer.save_checkpoint(self.path)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.loss = trainer.callback_metrics["train/loss"].item()


def line() -> Line:
    torch.manual_seed(0)
    return Line(lambda groups: torch.optim.SGD(groups, lr=0.1))


def fit(folder: Path, saves: Saves, ckpt_path: str | None = None, carry: bool = True) -> float:
    """The loss of the epoch."""
    carriers = [EpochMetrics()] if carry else []
    trainer = bare_trainer(folder, max_epochs=1, callbacks=[PartialEpoch(), *carriers, saves])
    trainer.fit(line(), datamodule=PointsData(batch_size=2), ckpt_path=ckpt_path)
    return saves.loss


def test_loss_of_a_resumed_epoch_is_that_of_the_whole_epoch(tmp_path: Path) -> None:
    whole = fit(tmp_path, Saves(tmp_path / "a.ckpt"))
    assert fit(tmp_path, Saves(), str(tmp_path / "a.ckpt")) == whole
    assert fit(tmp_path, Saves(), str(tmp_path / "a.ckpt"), carry=False) != whole  # the case is a real one


def test_metric_that_the_module_has_no_more_is_left_alone(tmp_path: Path) -> None:
    whole = fit(tmp_path, Saves(tmp_path / "a.ckpt"))
    checkpoint = torch.load(tmp_path / "a.ckpt", weights_only=True)
    checkpoint["epoch_metrics"]["processes"][0]["gone"] = {"updates": 1, "state": {"forward": 3}}
    torch.save(checkpoint, tmp_path / "b.ckpt")
    assert fit(tmp_path, Saves(), str(tmp_path / "b.ckpt")) == whole


class Rank(SingleDeviceStrategy):
    """One of several processes, without the others."""

    def __init__(self, rank: int, count: int) -> None:
        super().__init__("cpu")
        self.global_rank = rank
        self.world_size = count

    @property
    @override
    def is_global_zero(self) -> bool:
        return self.global_rank == 0


class Counts(Callback):
    """Keeps how many samples the loss of the epoch is the mean of, on this process."""

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Line)
        weight = pl_module.train_metrics["loss"].metric_state["weight"]
        assert isinstance(weight, Tensor)
        self.samples = weight.item()


def test_what_was_measured_counts_once_where_the_number_of_processes_has_changed(tmp_path: Path) -> None:
    fit(tmp_path, Saves(tmp_path / "a.ckpt"))
    samples = []
    for rank in range(2):
        counts = Counts()
        callbacks = [PartialEpoch(), EpochMetrics(), counts]
        bare_trainer(tmp_path, max_epochs=1, limit_val_batches=0, callbacks=callbacks, strategy=Rank(rank, 2)).fit(
            line(), datamodule=PointsData(batch_size=2), ckpt_path=str(tmp_path / "a.ckpt")
        )
        samples.append(counts.samples)
    assert samples == [6, 2]  # of all eight, the first process has the four that were measured before
