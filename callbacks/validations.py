"""Validations in the log: whether and where they are shown, and callbacks that show some samples of one."""

from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from typing_extensions import override

from sextant.contracts import Observer
from sextant.logs.drawing import can_draw

Sample = TypeVar("Sample")


def shows_validation(trainer: Trainer) -> bool:
    """Whether this process shows something of the validation: not in a sanity check, and not without a log."""
    return not trainer.sanity_checking and can_draw(trainer)


def validates_at_epoch_ends(trainer: Trainer) -> bool:
    """Whether a run validates at the ends of epochs alone, not within them."""
    return trainer.check_val_every_n_epoch is not None and trainer.val_check_batch == trainer.num_training_batches


def validation_axis(trainer: Trainer) -> int:
    """The step in the log of a validation, and of what is measured of an epoch of training: the epoch, counted from 1.

    In runs that validate within epochs, the number of optimizer steps done.
    """
    return trainer.current_epoch + 1 if validates_at_epoch_ends(trainer) else trainer.global_step


def spread(count: int, batch: int, batches: float, size: int) -> list[int]:
    """The places in a batch of the samples that are shown of it, where these are spread over a whole validation.

    Args:
        count: how many samples are shown of the validation.
        batch: the number of the batch, from 0 on.
        batches: of the validation; where it is not known, as of streams, the samples are those of the first batch.
        size: samples of the batch.
    """
    if batches == float("inf"):
        number = count if batch == 0 else 0
    else:
        first, end = (-(-count * each // int(batches)) for each in (batch, batch + 1))
        number = end - first
    places = np.linspace(0, size - 1, number) if number > 1 else np.full(number, size // 2)
    return np.unique(places.round().astype(int)).tolist()


class FirstValidationBatch(Observer):
    """A callback that shows something of the first batch of each validation in the log.

    It is called within the validation, while a callback that averages the weights has the average in the module.
    """

    @override
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: dict[str, Any],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx == 0 and shows_validation(trainer):
            self.show(trainer, outputs, batch, validation_axis(trainer))

    def show(self, trainer: Trainer, outputs: Any, batch: dict[str, Any], step: int) -> None:
        """Draw into the log, with :mod:`sextant.logs.drawing`.

        Args:
            trainer: the Trainer.
            outputs: of ``validation_step``.
            batch: the batch.
            step: of the validation.
        """
        raise NotImplementedError


class SpreadSamples(Observer, Generic[Sample]):
    """A callback that shows samples in the log after each validation.

    They are the same each time, evenly spread over the validation of the first process. They are taken within it, while
    a callback that averages the weights has the average in the module.

    Args:
        count: how many samples to show.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._shown: list[Sample] = []

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._shown = []

    @override
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: dict[str, Any],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        places = spread(self.count, batch_idx, trainer.num_val_batches[dataloader_idx], self.size(batch))
        if places and shows_validation(trainer):
            self._shown += self.take(trainer, outputs, batch, places)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if shows_validation(trainer):
            self.draw(trainer, self._shown, validation_axis(trainer))
        self._shown = []

    def size(self, batch: dict[str, Any]) -> int:
        """How many samples a batch has."""
        raise NotImplementedError

    def take(self, trainer: Trainer, outputs: Any, batch: dict[str, Any], places: list[int]) -> Iterable[Sample]:
        """What is shown of a batch.

        Args:
            trainer: the Trainer.
            outputs: of ``validation_step``.
            batch: the batch.
            places: of the samples in it.
        """
        raise NotImplementedError

    def draw(self, trainer: Trainer, shown: Sequence[Sample], step: int) -> None:
        """Draw into the log, with :mod:`sextant.logs.drawing`.

        Args:
            trainer: the Trainer.
            shown: what was taken; nothing of an empty validation.
            step: of the validation.
        """
        raise NotImplementedError
