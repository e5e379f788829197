"""The best value so far of the metric that the best checkpoint is chosen by."""

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from sextant.files.location import Location, location


def best_value(trainer: Trainer) -> tuple[str, float, Location] | None:
    """The metric that the best checkpoint is chosen by, its best value so far, and that checkpoint."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor and callback.best_model_score is not None:
            score = callback.best_model_score
            value = score.item() if isinstance(score, Tensor) else float(score)
            return callback.monitor, value, location(callback.best_model_path)
    return None
