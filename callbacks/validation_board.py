"""TensorBoard, where what a validation shows is written to it."""

from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger


def validation_board(trainer: Trainer) -> Any | None:
    """The ``SummaryWriter``: on the first process, in a validation that is no sanity check; None elsewhere."""
    if trainer.sanity_checking or not trainer.is_global_zero or not isinstance(trainer.logger, TensorBoardLogger):
        return None
    return trainer.logger.experiment
