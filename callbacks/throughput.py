"""The speed of training, and the time that it waits for data."""

import time
from collections import defaultdict
from typing import Any, Protocol, runtime_checkable

import torch
from lightning.pytorch import LightningModule, Trainer
from typing_extensions import override

from sextant.contracts import Observer, require
from sextant.lightning_internals import datamodule_of, is_fitting, is_last_batch, is_logged
from sextant.loaders import TimedDataLoader


@runtime_checkable
class CountsUnits(Protocol):
    """A DataModule that counts what a batch holds."""

    def units(self, batch: Any) -> dict[str, float]:
        """What the speed of training is counted in, such as ``samples``, and how much of it a batch holds."""


class Throughput(Observer):
    """The speed of training over all processes and the wait for data, logged every ``log_every_n_steps`` steps.

    It is measured at the end of an epoch too, for those who show it.

    ``throughput/<unit>_per_second`` for each unit that the DataModule counts; the progress bar shows the first.
    ``throughput/data_wait`` is the fraction of the time, in [0, 1], in which training waited for the next batch of a
    :class:`~sextant.loaders.TimedDataLoader`. Validation is not counted.

    Raises:
        InputError: in ``setup``, if the data is no :class:`CountsUnits`.
    """

    def __init__(self) -> None:
        self._units: defaultdict[str, float] = defaultdict(float)
        self._waited = 0.0
        self._since = 0.0
        self._logged_step = 0

    def _start(self, trainer: Trainer) -> None:
        self._units.clear()
        self._waited = self._loader_waited(trainer)
        self._since = time.perf_counter()

    @staticmethod
    def _loader_waited(trainer: Trainer) -> float:
        loader = trainer.train_dataloader
        return loader.waited if isinstance(loader, TimedDataLoader) else 0.0

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            require(datamodule_of(trainer), CountsUnits, self)

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start(trainer)  # a run that is resumed within an epoch does not come by on_train_epoch_start

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start(trainer)

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        for unit, count in require(datamodule_of(trainer), CountsUnits, self).units(batch).items():
            self._units[unit] += count
        step = trainer.global_step
        if step == self._logged_step or not (is_logged(trainer, step) or is_last_batch(trainer)):
            return
        self._logged_step = step
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.synchronize()  # once in N steps: count the work that was done, not what was queued
        seconds = time.perf_counter() - self._since
        waited = self._loader_waited(trainer) - self._waited
        counts = torch.tensor(list(self._units.values()), dtype=torch.float32, device=trainer.strategy.root_device)
        speeds = trainer.strategy.reduce(counts, reduce_op="sum") / seconds  # the steps of the ranks go in step
        for unit, speed in zip(self._units, speeds, strict=True):
            pl_module.log(f"throughput/{unit}_per_second", speed, rank_zero_only=True)
        first = next(iter(self._units))
        pl_module.log(f"{first}/s", speeds[0], prog_bar=True, logger=False, rank_zero_only=True)
        pl_module.log("throughput/data_wait", waited / seconds, rank_zero_only=True)
        self._start(trainer)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if is_fitting(trainer):
            self._start(trainer)
