"""The progress of a command on a terminal, and the time that is left for the whole run."""

import sys
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from typing_extensions import override

from callbacks.terminal.text import clock, epoch_of_run


class ProgressBar(TQDMProgressBar):
    """The progress of a command on a terminal: the batches of the epoch, the time left for the run, loss and metrics.

    Epochs are counted from 1. What is written into a file has no bar.

    Args:
        refresh_rate: batches after which it is drawn again.
    """

    BAR_FORMAT = "{desc}: |{bar}| {n_fmt}/{total_fmt}{postfix}"

    def __init__(self, refresh_rate: int = 1) -> None:
        super().__init__(refresh_rate)
        self._began = 0.0
        self._began_at_step = 0

    @property
    @override
    def is_enabled(self) -> bool:
        return super().is_enabled and sys.stdout.isatty()

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._began = time.monotonic()
        self._began_at_step = trainer.global_step

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_epoch_start(trainer, pl_module)
        self.train_progress_bar.set_description_str(f"Epoch {epoch_of_run(trainer)}")

    @override
    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """What stands beside the bar, the most important first: a narrow terminal cuts the rest off."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        shown: dict[str, Any] = {}
        if trainer.training and (left := self._seconds_left(trainer)) is not None:
            shown["left"] = clock(left)
        if "train/loss_step" in metrics:
            shown["loss"] = metrics.pop("train/loss_step")
        rates = {name: f"{value:,.0f}" for name, value in metrics.items() if name.endswith("/s")}
        return shown | {name: value for name, value in metrics.items() if name not in rates} | rates

    def _seconds_left(self, trainer: Trainer) -> float | None:
        """For the whole run, at the speed of this command so far; None if that is not known."""
        made = trainer.global_step - self._began_at_step
        steps = trainer.estimated_stepping_batches
        if made <= 0 or steps == float("inf"):
            return None
        return (time.monotonic() - self._began) / made * max(0, steps - trainer.global_step)
