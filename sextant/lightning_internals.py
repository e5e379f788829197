"""Every private or undeclared name of Lightning and torchmetrics that the library leans on, each behind a function.

Those of loggers are in ``sextant/logs/lightning_loggers.py``.
The versions that have them are held by the upper bounds in ``pyproject.toml``.
"""

import math
import threading
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver
from lightning.fabric.utilities.optimizer import _optimizers_to_device
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.trainer.states import TrainerFn
from torch.optim import Optimizer
from torch.utils.data import DataLoader
from torchmetrics import Metric

from sextant.errors import InputError


class Counts(Protocol):
    """How many batches, or epochs, have reached a stage."""

    ready: int
    started: int
    processed: int
    completed: int


def trainer_of(part: LightningModule | LightningDataModule) -> Trainer | None:
    """The Trainer of a module or DataModule; None where it has none yet, or where a loop of one's own stands in."""
    found: Any = part._trainer if isinstance(part, LightningModule) else part.trainer
    return found if isinstance(found, Trainer) else None


def datamodule_of(trainer: Trainer) -> LightningDataModule | None:
    """The DataModule of a run, which the Trainer has without declaring it; None if loaders were given instead."""
    datamodule: LightningDataModule | None = trainer.datamodule  # type: ignore[attr-defined]
    return datamodule


def callbacks_of(trainer: Trainer) -> list[Callback]:
    """The callbacks of a run, which may be replaced in place."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return callbacks


def is_logged(trainer: Trainer, step: int) -> bool:
    """Whether a step has an entry in the log, which has one every so many steps, or none at all."""
    every = int(trainer.log_every_n_steps)  # type: ignore[attr-defined]
    return every > 0 and step % every == 0


def is_fast_dev_run(trainer: Trainer) -> bool:
    """Whether a run only tries each step out, and logs nothing."""
    return bool(trainer.fast_dev_run)  # type: ignore[attr-defined]


def is_overfitting(trainer: Trainer) -> bool:
    """Whether a run trains on a few batches only, the same ones in each epoch."""
    return bool(trainer.overfit_batches)  # type: ignore[attr-defined]


def refuse_distributed_sampler(trainer: Trainer) -> None:
    """Refuse a Trainer that would split among the processes what is split among them already.

    Raises:
        InputError: it would, and there are several processes.
    """
    if trainer.world_size > 1 and trainer._accelerator_connector.use_distributed_sampler:
        raise InputError(
            "--trainer.use_distributed_sampler is true, but the data gives each process its own samples already: most "
            "would be left out. Use --trainer.use_distributed_sampler=false."
        )


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


def whole_epochs(trainer: Trainer) -> int:
    """The training epochs that a run has ended. Lightning counts the one in which it has stopped, too."""
    epochs, batches = epochs_of_run(trainer), batches_of_epoch(trainer).processed
    stopped_within = epochs.completed == epochs.ready and batches > 0 and not is_last_batch(trainer)
    return trainer.current_epoch - stopped_within


def batches_in_checkpoint(checkpoint: dict[str, Any]) -> dict[str, int]:
    """The training batches of a checkpoint's epoch, by stage as in :class:`Counts`; changes hold for a resumed run."""
    counts: dict[str, int] = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
    return counts


def write_point_to_resume(checkpoint: dict[str, Any], validates: bool) -> None:
    """Bring the counts in a checkpoint of a partial epoch into the one form from which Lightning resumes it.

    Lightning takes the validation of the step for done, whether or not it was, and an epoch in which a run has stopped
    for a whole one.

    Args:
        checkpoint: to be written.
        validates: whether the resumed run has to begin with the validation that belongs to the step.
    """
    counts: dict[str, Any] = checkpoint["loops"]["fit_loop"]
    epochs, batches = counts["epoch_progress"], counts["epoch_loop.batch_progress"]
    validation = counts["epoch_loop.val_loop.batch_progress"]
    done = validation["total"]["completed"]
    # A validation with which a resumed run began would be taken for an unfinished one for the rest of the run.
    validation["total"] = dict.fromkeys(validation["total"], done)
    last: bool = batches["is_last_batch"]
    if not batches["current"]["ready"] == batches["current"]["started"] == batches["current"]["processed"] != 0:
        return  # within a step, or before the first one
    if not last:  # or after it, where the run stops
        for count in (epochs["total"], epochs["current"]):
            count["processed"] = count["completed"] = count["started"] - 1
    if epochs["current"]["processed"] == epochs["current"]["started"]:
        return
    for count in (batches["total"], batches["current"]):
        if validates:
            count["completed"] = count["processed"]
        elif not last:
            count["completed"] = count["processed"] - 1
    if validates:
        validation["current"] = dict.fromkeys(validation["current"], 0)
        validation["total"] = {"ready": done + 1, "started": done + 1, "processed": done, "completed": done}


def end_with_loader(trainer: Trainer) -> None:
    """Where a run is resumed after the last batch of an epoch, count as many batches as the loader has now.

    Otherwise Lightning does not see that the epoch is over, where the number of processes has changed.
    """
    batches = trainer.fit_loop.epoch_loop.batch_progress
    length = trainer.num_training_batches
    if trainer.fit_loop.restarted_mid_epoch and batches.is_last_batch and math.isfinite(length):
        shift = int(length) - batches.current.ready
        for stage in ("ready", "started", "processed", "completed"):
            setattr(batches.current, stage, getattr(batches.current, stage) + shift)


def count_epochs_by_data(trainer: Trainer) -> None:
    """Let an epoch be over when its data is, also where ``max_steps`` is given.

    Lightning takes an epoch that is over for a partial one there, and would end it once more after a restart.
    """
    trainer.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]


def validation_due(trainer: Trainer) -> bool:
    """Whether a validation follows the training batch under way by the Trainer's intervals, whether or not it stops."""
    stop, trainer.should_stop = trainer.should_stop, False
    try:
        fetcher: Any = trainer.fit_loop._data_fetcher
        return trainer.fit_loop.epoch_loop._should_check_val_fx(fetcher)
    finally:
        trainer.should_stop = stop


def stops_after_step(trainer: Trainer) -> bool:
    """Whether a run ends after the step under way, wherever in the epoch it is."""
    if 0 <= trainer.max_steps <= trainer.global_step:
        return True
    return trainer.should_stop and trainer.fit_loop._can_stop_early


def ends_after_epoch(trainer: Trainer) -> bool:
    """Whether a run has nothing left to do after the epoch that is just over."""
    return trainer.max_epochs is not None and 0 <= trainer.max_epochs <= trainer.current_epoch + 1


def validate_before_stop(trainer: Trainer) -> None:
    """Let a run that ends after the step under way validate first, if it validates at all."""
    trainer.should_stop = True
    if trainer.check_val_every_n_epoch is not None:
        trainer.check_val_every_n_epoch = 1


def end_again(trainer: Trainer, is_validated: Callable[[], bool]) -> None:
    """Let a run that is resumed where no step is left end again, with its epoch if it stopped in one.

    ``is_validated`` says whether the validation of the last step is done.
    """
    epochs, batches = trainer.fit_loop, trainer.fit_loop.epoch_loop

    def set_up_data() -> None:
        type(epochs).setup_data(epochs)
        if not epochs._loaded_from_state_dict or not epochs.done:
            return
        stepped, most_epochs, most_steps = batches._batches_that_stepped, epochs.max_epochs, batches.max_steps

        def make_no_step(_: Any) -> None:
            batches.advance = partial(type(batches).advance, batches)  # type: ignore[method-assign]
            batches.max_steps, batches.val_loop.restarting = most_steps, False
            batches._skip_next_val = is_validated()
            batches._batches_that_stepped = stepped  # which is counted up again when the step ends

        def start() -> None:
            epochs.max_epochs, batches.max_steps = most_epochs, most_steps
            type(epochs).on_run_start(epochs)

        batches.max_steps = -1
        if epochs_of_run(trainer).processed < epochs_of_run(trainer).started:
            batches.advance = make_no_step  # type: ignore[method-assign, assignment]
        else:
            epochs.max_epochs, epochs.on_run_start = -1, start  # type: ignore[method-assign]

    epochs.setup_data = set_up_data  # type: ignore[method-assign]


def total_batches(trainer: Trainer) -> int:
    """The training batches of the whole run, with the one under way."""
    return trainer.fit_loop.epoch_loop.total_batch_idx + 1


def call_at_boundaries(
    trainer: Trainer,
    before_validation: Callable[[], None],
    after_step: Callable[[], None],
    after_epoch: Callable[[], None],
) -> None:
    """Call functions where a run could be cut in two, which no hook of a callback is.

    A checkpoint that one of them writes has the counts that Lightning expects of one written in a hook.

    Args:
        trainer: the Trainer.
        before_validation: after a training batch that made an optimizer step, when all it measured is in the log, and
            before the validation that may belong to it.
        after_step: after that validation, too.
        after_epoch: when all that the epoch measured is in the log.
    """
    epochs, batches = trainer.fit_loop, trainer.fit_loop.epoch_loop

    def batch_ends(data_fetcher: Any) -> None:
        if batches._should_accumulate():
            type(batches).on_advance_end(batches, data_fetcher)
            return
        before_validation()
        type(batches).on_advance_end(batches, data_fetcher)
        batches._batches_that_stepped -= 1
        try:
            after_step()
        finally:
            batches._batches_that_stepped += 1

    def epoch_ends() -> None:
        type(epochs).on_advance_end(epochs)
        counts = epochs.epoch_progress.total, epochs.epoch_progress.current
        for count in counts:
            count.completed -= 1
        try:
            after_epoch()
        finally:
            for count in counts:
                count.completed += 1

    batches.on_advance_end = batch_ends  # type: ignore[method-assign]
    epochs.on_advance_end = epoch_ends  # type: ignore[method-assign]


def leave_signals_alone(trainer: Trainer) -> None:
    """Keep Lightning from handling signals, and from asking all processes in each step whether one came.

    Its handlers talk to other processes, and under SLURM write a checkpoint, in the middle of a step.
    """
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]


def load_given_checkpoints_only(trainer: Trainer) -> None:
    """Keep Lightning from resuming, under SLURM, from a checkpoint that an earlier job left in the working folder."""
    connector = trainer._checkpoint_connector
    parse = connector._parse_ckpt_path

    def given(state_fn: TrainerFn, ckpt_path: Any, model_provided: bool, model_connected: bool) -> Any:
        return None if ckpt_path is None else parse(state_fn, ckpt_path, model_provided, model_connected)

    connector._parse_ckpt_path = given  # type: ignore[method-assign]


def let_processes_end() -> None:
    """Keep Lightning from killing this process where one that it has launched ends with another code than 0."""
    for thread in threading.enumerate():
        if isinstance(thread, _ChildProcessObserver):
            thread._run = lambda: True  # type: ignore[method-assign]


def tell_epoch_to(loader: DataLoader[Any], dataset: Any) -> None:
    """Let a stream, with ``set_epoch``, hear of each new epoch.

    Lightning calls ``set_epoch`` of a loader's sampler, which for a stream is one of torch's own.
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


def profile_into(trainer: Trainer, folder: Path) -> None:
    """Let what a run's profiler finds be written into a folder, unless it has one."""
    profiler: Profiler = trainer.profiler  # type: ignore[attr-defined]
    profiler.dirpath = profiler.dirpath or folder
