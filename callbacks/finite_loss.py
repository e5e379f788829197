"""A stop at a loss that is NaN or infinite, with the names of the samples that gave it."""

import math
from typing import Any, Protocol, runtime_checkable

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from sextant.contracts import Observer
from sextant.errors import InputError
from sextant.files.location import Location
from sextant.lightning_internals import datamodule_of
from sextant.resume.recovery_checkpoint import RecoveryCheckpoint


@runtime_checkable
class NamesSamples(Protocol):
    """Data that names the samples of a batch by their ``index``."""

    def sample_names(self, batch: dict[str, Any]) -> list[str]:
        """The files, or other names by which a person finds them."""


class FiniteLoss(Observer):
    """A stop of the training when the loss is NaN or infinite, before it can reach a checkpoint.

    The error names the samples of the batch where the data is :class:`NamesSamples`. On a GPU, the loss of a step is
    read one step later, so that the processor goes on queueing work; before a checkpoint it is read right away.
    """

    def __init__(self) -> None:
        self._pending: tuple[Tensor, Any, int] | None = None
        self._folder: Location | None = None

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # All processes ask here: the answer is broadcast, and later one of them may fail alone.
        self._folder = RecoveryCheckpoint.folder(trainer)

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._check(trainer)
        loss = outputs["loss"].detach()
        index = {"index": batch["index"]} if isinstance(datamodule_of(trainer), NamesSamples) else None
        # The step has been counted already; the loss was computed in the one before.
        self._pending = (loss, index, trainer.global_step - 1)
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
        data = datamodule_of(trainer)
        names = data.sample_names(batch) if isinstance(data, NamesSamples) else ["(without names)"]
        last = self._folder and self._folder / "last.ckpt"
        good = "There is no checkpoint of this run yet."
        if last and last.exists():
            good = f"The last good checkpoint is {last}."
        raise InputError(
            f"The loss is {value} at step {step} (epoch {trainer.current_epoch}). {good} Try a lower learning rate, "
            f"or clip gradients with --trainer.gradient_clip_val=1. The batch:\n  " + "\n  ".join(names)
        )
