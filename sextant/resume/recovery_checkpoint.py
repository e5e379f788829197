"""Checkpoints to resume from after a kill, and checkpoints kept at chosen epochs."""

import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from typing_extensions import override

from sextant.lightning_internals import accumulates_gradients, is_last_batch, log_every_n_steps


class RecoveryCheckpoint(Checkpoint):
    """The checkpoint ``last.ckpt``, kept up to date, from which a run is resumed exactly.

    It is written only where no gradient and no validation is half done, so that a resumed run is equal bit by bit:
    after an optimizer step within an epoch, and after the validation at the end of an epoch. In a run of one process,
    SIGTERM (sent by schedulers before they kill) and Ctrl-C write it after the present step, and a second Ctrl-C stops
    at once. Several processes get a signal at different steps; they are resumed from the last checkpoint before it.

    Args:
        every_n_steps: also write ``last.ckpt`` after so many optimizer steps; 0 does not.
        every_n_minutes: also write it when the last one is so old; 0 does not. Several processes look at the clock
            every ``log_every_n_steps`` steps, since they have to agree.
        keep_epochs: keep ``epoch=NNN.ckpt`` after these epochs, counted from 1.
    """

    def __init__(
        self, every_n_steps: int = 0, every_n_minutes: float = 10.0, keep_epochs: list[int] | None = None
    ) -> None:
        self.every_n_steps = every_n_steps
        self.every_n_minutes = every_n_minutes
        self.keep_epochs = keep_epochs or []
        self._saved_at = 0.0
        self._saved_step = -1
        self._interrupted = False
        self._previous_handler: Any = None

    @staticmethod
    def folder(trainer: Trainer) -> Path | None:
        """Where a run's checkpoints are; None for a run without a log folder."""
        log_dir = trainer.log_dir
        return None if log_dir is None else Path(log_dir) / "checkpoints"

    def _save(self, trainer: Trainer, name: str) -> None:
        folder = self.folder(trainer)
        if folder is not None:
            trainer.save_checkpoint(folder / name)
            self._saved_at = time.monotonic()
            self._saved_step = trainer.global_step

    def _due(self, trainer: Trainer) -> bool:
        step = trainer.global_step
        if step == self._saved_step:  # within the accumulation of a step
            return False
        if self.every_n_steps and step % self.every_n_steps == 0:
            return True
        if not self.every_n_minutes or (trainer.world_size > 1 and step % log_every_n_steps(trainer)):
            return False
        old = time.monotonic() - self._saved_at > 60 * self.every_n_minutes
        return bool(trainer.strategy.reduce_boolean_decision(old, all=False))

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved_at = time.monotonic()
        self._saved_step = trainer.global_step
        if trainer.world_size == 1:
            self._previous_handler = signal.signal(signal.SIGINT, self._interrupt)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True
        print("\nStopping after this step; press Ctrl-C again to stop at once.")

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        stop = self._interrupted or (trainer.received_sigterm and trainer.world_size == 1)
        accumulating = accumulates_gradients(trainer)
        # At an epoch's last batch the validation is still to come: on_train_epoch_end follows it.
        last = is_last_batch(trainer)
        if not accumulating and not last and (stop or self._due(trainer)):
            self._save(trainer, "last.ckpt")
        if self._interrupted and not last and not accumulating:
            rank_zero_info("Stopped. To go on: the same command with --ckpt_path=last")
            raise KeyboardInterrupt

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        self._save(trainer, "last.ckpt")
        if epoch in self.keep_epochs:
            self._save(trainer, f"epoch={epoch:03d}.ckpt")
        if self._interrupted:
            raise KeyboardInterrupt

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self._previous_handler is not None:
            signal.signal(signal.SIGINT, self._previous_handler)
            self._previous_handler = None
