"""How fast training goes, and how long it waits for data."""

import time
from collections import Counter
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from typing_extensions import override


class Throughput(Callback):
    """Log ``throughput/samples_per_second`` (all processes) and ``throughput/data_wait`` every N steps.

    What is counted is the DataModule's ``units``: ``throughput/tokens_per_second`` for text. The progress bar shows the
    first of them.

    ``data_wait`` is the share of the time, between 0 and 1, in which training stood still until the loader gave the
    next batch. Validation is not counted. N is the Trainer's ``log_every_n_steps``.
    """

    def __init__(self) -> None:
        self._units: Counter[str] = Counter()
        self._waited = 0.0
        self._since = 0.0
        self._logged_step = 0

    def _start(self, trainer: Trainer) -> None:
        self._units.clear()
        self._waited = self._loader_waited(trainer)
        self._since = time.perf_counter()

    @staticmethod
    def _loader_waited(trainer: Trainer) -> float:
        return getattr(trainer.train_dataloader, "waited", 0.0)

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start(trainer)  # a run that is resumed within an epoch does not come by on_train_epoch_start

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start(trainer)

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: dict[str, Any], batch_idx: int
    ) -> None:
        self._units.update(trainer.datamodule.units(batch))  # type: ignore[attr-defined]
        step = trainer.global_step
        if step == self._logged_step or step % trainer.log_every_n_steps:  # type: ignore[attr-defined]
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
        if trainer.state.fn == "fit":
            self._start(trainer)
