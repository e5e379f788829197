"""Every private or undeclared name of Lightning and torchmetrics that the library leans on, each behind a function.

The versions that have them are held by the upper bounds in ``pyproject.toml``.
"""

from collections.abc import Iterable
from typing import Any, Protocol, cast

import torch
from lightning.fabric.utilities.optimizer import _optimizers_to_device
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch.optim import Optimizer
from torch.utils.data import DataLoader
from torchmetrics import Metric


class Counts(Protocol):
    """How many batches, or epochs, have reached a stage."""

    ready: int
    started: int
    processed: int
    completed: int


def datamodule_of(trainer: Trainer) -> LightningDataModule | None:
    """The DataModule of a run, which the Trainer has without declaring it; None if loaders were given instead."""
    datamodule: LightningDataModule | None = trainer.datamodule  # type: ignore[attr-defined]
    return datamodule


def callbacks_of(trainer: Trainer) -> list[Callback]:
    """The callbacks of a run, which may be replaced in place."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return callbacks


def log_every_n_steps(trainer: Trainer) -> int:
    """The steps between two entries of a log."""
    return int(trainer.log_every_n_steps)  # type: ignore[attr-defined]


def is_fast_dev_run(trainer: Trainer) -> bool:
    """Whether a run only tries each step out, and logs nothing."""
    return bool(trainer.fast_dev_run)  # type: ignore[attr-defined]


def is_fitting(trainer: Trainer) -> bool:
    """Whether a run is one of ``fit``, also while it validates."""
    return trainer.state.fn == TrainerFn.FITTING


def batches_of_epoch(trainer: Trainer) -> Counts:
    """The training batches of the epoch under way, as far as a run has come."""
    counts: Any = trainer.fit_loop.epoch_loop.batch_progress.current
    return cast(Counts, counts)


def is_last_batch(trainer: Trainer) -> bool:
    """Whether the training batch under way is the last one of its epoch."""
    return trainer.fit_loop.epoch_loop.batch_progress.is_last_batch


def epochs_of_run(trainer: Trainer) -> Counts:
    """The training epochs, as far as a run has come."""
    counts: Any = trainer.fit_loop.epoch_progress.current
    return cast(Counts, counts)


def accumulates_gradients(trainer: Trainer) -> bool:
    """Whether the training batch under way only adds its gradients, and a later one makes the optimizer's step."""
    return trainer.fit_loop.epoch_loop._should_accumulate()


def batches_in_checkpoint(checkpoint: dict[str, Any]) -> dict[str, int]:
    """The training batches of the epoch that a checkpoint is of, by stage; a change of them holds for the resumed run.

    The stages are those of :class:`Counts`.
    """
    counts: dict[str, int] = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
    return counts


def count_epochs_by_data(trainer: Trainer) -> None:
    """Let an epoch be over when its data is, also where ``max_steps`` is given.

    Lightning takes an epoch that is over for a partial one there, and would end it once more after a restart.
    """
    trainer.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]


def tell_epoch_to(loader: DataLoader[Any], dataset: Any) -> None:
    """Let a stream hear of each new epoch.

    Lightning calls ``set_epoch`` of a loader's sampler, which for a stream is one of torch's own.

    Args:
        loader: of the stream.
        dataset: the stream, with ``set_epoch``.
    """
    sampler: Any = loader.sampler
    sampler.set_epoch = dataset.set_epoch


def is_synced(metric: Metric) -> bool:
    """Whether a metric holds the state of all processes, and has to be given its own back."""
    return metric._is_synced


def set_update_count(metric: Metric, count: int) -> None:
    """Set how many updates a metric's state is made of."""
    metric._update_count = count


def attach(trainer: Trainer, module: LightningModule, datamodule: LightningDataModule) -> None:
    """Make a Trainer, a module and a DataModule known to each other, as a run does before it sets them up."""
    trainer.datamodule = datamodule  # type: ignore[attr-defined]
    datamodule.trainer = trainer
    module.trainer = trainer


def move_state(optimizers: Iterable[Optimizer], device: torch.device) -> None:
    """Move the state of optimizers, not their parameters, to a device."""
    _optimizers_to_device(optimizers, device)
