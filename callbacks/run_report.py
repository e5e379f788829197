"""The report of a run: its settings and data at the start, its best metric and its files at the end."""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor
from typing_extensions import override

from sextant.contracts import Observer
from sextant.lightning_internals import (
    batches_of_epoch,
    callbacks_of,
    datamodule_of,
    is_fast_dev_run,
    is_last_batch,
)
from sextant.resume.recovery_checkpoint import RecoveryCheckpoint
from sextant.resume.run_configuration import RunConfiguration
from sextant.resume.settings import free_settings, learning_settings

SYNTHETIC_NOTICE = (
    "SYNTHETIC DATA: generated to try the program on. Figures from this run say nothing about the real data set."
)


@runtime_checkable
class MaybeSynthetic(Protocol):
    """Data that says whether it was generated."""

    synthetic: bool


class RunReport(Observer):
    """The report of a run on the terminal and in TensorBoard.

    Runs on synthetic data are marked as such in both. The hyper-parameters are written to TensorBoard's HParams page
    together with the best value of the metric that ``best.ckpt`` is chosen by.
    """

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if _on_synthetic_data(trainer):
            rank_zero_info(SYNTHETIC_NOTICE)

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if _on_synthetic_data(trainer) and isinstance(trainer.logger, TensorBoardLogger) and trainer.is_global_zero:
            trainer.logger.experiment.add_text("data", SYNTHETIC_NOTICE)

    # best.ckpt is chosen after the other callbacks' on_train_epoch_end, so the next hook reports it.
    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._log_best(trainer, pl_module)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._log_best(trainer, pl_module)

    def _log_best(self, trainer: Trainer, pl_module: LightningModule) -> None:
        best = self._best(trainer)
        if best is None or not isinstance(trainer.logger, TensorBoardLogger):
            return
        name, value, _ = best
        for callback in callbacks_of(trainer):
            if isinstance(callback, RunConfiguration):
                settings = learning_settings(callback.configuration, free_settings(callback.configuration))
                trainer.logger.log_hyperparams(_flat(settings), {f"best/{name}": value}, step=trainer.current_epoch)

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = RecoveryCheckpoint.folder(trainer)
        if folder is None or is_fast_dev_run(trainer):
            return
        lines = [_how_far(trainer)]
        if best := self._best(trainer):
            name, value, path = best
            lines += [f"Best {name}: {value:.4f}", f"Best checkpoint: {path}"]
        if (folder / "last.ckpt").exists():
            lines.append(f"Last checkpoint: {folder / 'last.ckpt'}")
        lines.append(f"TensorBoard: tensorboard --logdir {folder.parent}")
        if _on_synthetic_data(trainer):
            lines.append(SYNTHETIC_NOTICE)
        rank_zero_info("\n".join(lines))

    @staticmethod
    def _best(trainer: Trainer) -> tuple[str, float, Path] | None:
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.monitor and callback.best_model_score is not None:
                score = callback.best_model_score
                value = score.item() if isinstance(score, Tensor) else float(score)
                return callback.monitor, value, Path(callback.best_model_path)
        return None


def _how_far(trainer: Trainer) -> str:
    """How many steps and whole epochs were made, and how much of the epoch in which the run has stopped."""
    steps, epochs = f"Steps done: {trainer.global_step:,}", trainer.current_epoch
    batches = batches_of_epoch(trainer).processed
    if is_last_batch(trainer) or not batches:
        return f"{steps}, epochs: {epochs:,}"
    return f"{steps}, epochs: {epochs - 1:,} and {batches:,} of {trainer.num_training_batches:,} batches of the next"


def _on_synthetic_data(trainer: Trainer) -> bool:
    data = datamodule_of(trainer)
    return isinstance(data, MaybeSynthetic) and data.synthetic


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level, named as on the command line, in values that TensorBoard shows."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            flat |= _flat(value, prefix if key == "init_args" else f"{prefix}{key}.")
        elif value is not None:
            flat[f"{prefix}{key}"] = value if isinstance(value, bool | int | float) else str(value)
    return flat
