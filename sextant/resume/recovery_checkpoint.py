"""Checkpoints to resume from after a kill, a signal or a limit, and checkpoints kept at chosen epochs."""

import signal
import time
from collections.abc import Callable
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from typing_extensions import override

from sextant.checkpoint_files import LAST, PREVIOUS, keep_as_previous, remove_leftovers
from sextant.files.location import Location, location
from sextant.lightning_internals import (
    call_at_boundaries,
    ends_after_epoch,
    is_fitting,
    is_last_batch,
    leave_signals_alone,
    let_processes_end,
    stops_after_step,
    validate_before_stop,
    validation_due,
)
from sextant.logs.kept_folder import kept_folder
from sextant.resume.consensus import Consensus
from sextant.resume.duration import seconds
from sextant.signals import SIGNALS, Stopped


class RecoveryCheckpoint(Checkpoint):
    """The checkpoint ``last.ckpt``, kept up to date, from which a run is resumed exactly.

    It is written only between two steps, when what the step measured is in the log and the validation that belongs to
    it is done, so that a resumed run is equal bit by bit, and its log point by point.

    The one before it is ``previous.ckpt``, in case the last one is damaged on the disk: what ``last.ckpt`` was before
    it was last replaced, or what the run was resumed from. It takes the space of one more checkpoint.

    A run that stops within an epoch, because of ``max_steps``, ``max_time`` or a callback, validates then, so that it
    has a ``best.ckpt``; ``last.ckpt`` is of before that validation, so that the run goes on as if it had not stopped.

    SIGTERM, SIGHUP, SIGUSR1 and Ctrl-C, sent to any process of the run, end it after the present step, or in the middle
    of a validation, which the resumed run begins again. A second one ends the process at once. A run that has nothing
    left to do but to end does that.

    Args:
        every_n_steps: also write ``last.ckpt`` after so many optimizer steps; 0 does not.
        every_n_minutes: also write it when the last one is so old; 0 does not.
        keep_epochs: keep ``epoch=NNN.ckpt`` after these epochs, counted from 1.
        stop_after: end this command after so long, such as ``3h50m``, as SIGUSR1 does: for jobs with a time limit.

    Raises:
        InputError: ``stop_after`` is no duration.
    """

    def __init__(
        self,
        every_n_steps: int = 0,
        every_n_minutes: float = 10.0,
        keep_epochs: list[int] | None = None,
        stop_after: str | None = None,
    ) -> None:
        self.every_n_steps = every_n_steps
        self.every_n_minutes = every_n_minutes
        self.keep_epochs = keep_epochs or []
        self.stop_after = None if stop_after is None else seconds(stop_after)
        self.writes = True  # False in a run without checkpoints
        self._began = time.monotonic()
        self._saved_at = 0.0
        self._saved_step = -1
        self._saved_last = False
        self._said_old = False  # since it was written
        self._save_due = False
        self._signal = 0  # that ends the run at the end of the epoch
        self._consensus = Consensus(1)
        self._leave_signals: Callable[[], None] = lambda: None

    @staticmethod
    def folder(trainer: Trainer) -> Location | None:
        """Where a run's checkpoints are; None for a run without a log folder."""
        folder = kept_folder(trainer)
        return None if folder is None else folder / "checkpoints"

    # --- when it is written ------------------------------------------------------------------------------------------

    def _save(self, trainer: Trainer, name: str) -> None:
        folder = self.folder(trainer)
        if folder is not None and self.writes:
            if name == LAST and self._saved_last:
                self._keep_as_previous(trainer, folder / LAST)
            trainer.save_checkpoint(str(folder / name))
            self._saved_last = self._saved_last or name == LAST
            self._saved_at = time.monotonic()
            self._saved_step = trainer.global_step
            self._said_old = self._save_due = False

    def _keep_as_previous(self, trainer: Trainer, path: Location) -> None:
        if trainer.is_global_zero and path.exists():
            try:
                keep_as_previous(path)
            except OSError as error:
                rank_zero_warn(
                    f"{path.with_name(PREVIOUS)} is not kept: the file system did not link or copy it ({error})."
                )

    def _tidy(self, trainer: Trainer) -> None:
        """Remove what a killed run left, and keep what this run goes on from, which could be read."""
        folder, resumed = self.folder(trainer), trainer.ckpt_path
        self._saved_last = False  # a last checkpoint that this run did not write is not known to be whole
        if folder is None or not folder.is_dir() or not trainer.is_global_zero:
            return
        remove_leftovers(folder)
        if not resumed:
            return
        path = location(resumed)
        if path.parent.resolve() == folder.resolve() and path.name != PREVIOUS:
            self._keep_as_previous(trainer, path)

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._consensus = Consensus(trainer.world_size)
        leave_signals_alone(trainer)
        self._leave_signals = SIGNALS.take(noting=SIGNALS.noting or trainer.world_size > 1)  # no one may end alone
        if stage == "fit":  # the hooks of a callback come before a step's measurements are in the log
            call_at_boundaries(
                trainer,
                before_validation=lambda: self._before_validation(trainer),
                after_step=lambda: self._after_step(trainer),
                after_epoch=lambda: self._after_epoch(trainer),
            )

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._tidy(trainer)
        self._saved_at = time.monotonic()
        self._saved_step = trainer.global_step
        SIGNALS.noting = True

    def _before_validation(self, trainer: Trainer) -> None:
        number = self._agree(trainer)
        validates, last = validation_due(trainer), is_last_batch(trainer)
        if number and (validates or not last):
            self._save_and_stop(trainer, number)
        self._signal = number
        if stops_after_step(trainer) and not last and not validates:
            self._save(trainer, LAST)
            validate_before_stop(trainer)

    def _after_step(self, trainer: Trainer) -> None:
        if is_last_batch(trainer):
            return
        every = bool(self.every_n_steps) and trainer.global_step % self.every_n_steps == 0
        stops, saved = stops_after_step(trainer), trainer.global_step == self._saved_step
        if stops and validation_due(trainer):  # a resumed run may have begun with it
            saved = False
        if not saved and (every or self._save_due or stops):
            self._save(trainer, LAST)

    def _after_epoch(self, trainer: Trainer) -> None:
        if not is_last_batch(trainer):  # the run has stopped within it
            return
        epoch = trainer.current_epoch + 1
        if epoch in self.keep_epochs:
            self._save(trainer, f"epoch={epoch:03d}.ckpt")
        number = self._agree(trainer) or self._signal
        if number and not ends_after_epoch(trainer):
            self._save_and_stop(trainer, number)
        self._save(trainer, LAST)

    # --- when the run ends -------------------------------------------------------------------------------------------

    def _agree(self, trainer: Trainer) -> int:
        """The signal that ends the run, the same on all processes; 0 for none."""
        number, old = SIGNALS.noted, False
        if trainer.is_global_zero:  # its clock counts
            now = time.monotonic()
            if self.stop_after is not None and now - self._began >= self.stop_after:
                number = number or signal.SIGUSR1
            old = bool(self.every_n_minutes) and now - self._saved_at > 60 * self.every_n_minutes
        number, is_old = self._consensus([number, int(old and not self._said_old)])
        self._said_old = self._said_old or old
        self._save_due = self._save_due or bool(is_old)
        return number

    def _save_and_stop(self, trainer: Trainer, number: int) -> None:
        self._save(trainer, LAST)
        folder = self.folder(trainer)
        saved = "Nothing is saved: the run has no checkpoints"
        if folder and self.writes:
            saved = f"Saved {folder / LAST}\nTo go on, give the same command with --ckpt_path=last"
        self._stop(trainer, number, f"Stopped by {_name(number)} after {trainer.global_step:,} steps.\n{saved}")

    def _stop(self, trainer: Trainer, number: int, message: str) -> None:
        self._consensus.finish()
        let_processes_end()
        raise Stopped(number, message if trainer.is_global_zero else None)

    @override
    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any, **options: Any) -> None:
        if is_fitting(trainer) and not trainer.sanity_checking:
            if number := self._agree(trainer):
                self._save_and_stop(trainer, number)
        else:
            self._stop_evaluation(trainer)

    @override
    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any, **options: Any) -> None:
        self._stop_evaluation(trainer)

    @override
    def on_predict_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any, **options: Any) -> None:
        self._stop_evaluation(trainer)

    def _stop_evaluation(self, trainer: Trainer) -> None:
        number, _ = self._consensus([SIGNALS.noted, 0])
        if number:
            self._stop(trainer, number, f"Stopped by {_name(number)}.")

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._leave_signals()

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._leave_signals()


def _name(number: int) -> str:
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
