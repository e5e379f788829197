"""Stop at a loss that is no number, and say which samples gave it."""

import math
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from typing_extensions import override

from sextant.errors import InputError
from sextant.resume.recovery_checkpoint import RecoveryCheckpoint


class FiniteLoss(Callback):
    """Stop training when the loss is NaN or infinite, before a checkpoint can be written from it.

    On a GPU the loss of a step is looked at one step later, so that the processor goes on queueing work; before
    any checkpoint is written it is looked at right away.
    """

    def __init__(self) -> None:
        self._pending: tuple[Tensor, dict[str, Any], int] | None = None
        self._folder: Path | None = None

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # All processes ask here: the answer is broadcast, and later one of them may fail alone.
        self._folder = RecoveryCheckpoint.folder(trainer)

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: dict[str, Any], batch_idx: int
    ) -> None:
        self._check(trainer)
        loss = outputs["loss"].detach()
        # The step has been counted already; the loss was computed in the one before.
        self._pending = (loss, {"index": batch["index"]}, trainer.global_step - 1)
        if loss.device.type == "cpu":
            self._check(trainer)

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._check(trainer)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check(trainer)

    def _check(self, trainer: Trainer) -> None:
        if self._pending is None:
            return
        loss, batch, step = self._pending
        self._pending = None
        value = loss.item()
        if math.isfinite(value):
            return
        names = trainer.datamodule.sample_names(batch)  # type: ignore[attr-defined]
        last = self._folder and self._folder / "last.ckpt"
        good = "There is no checkpoint of this run yet."
        if last and last.exists():
            good = f"The last good checkpoint is {last}."
        raise InputError(
            f"The loss is {value} at step {step} (epoch {trainer.current_epoch}). {good} Try a lower learning rate, "
            f"or clip gradients with --trainer.gradient_clip_val=1. The batch:\n  " + "\n  ".join(names)
        )
