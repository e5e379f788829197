"""TensorBoard: its writer, where a validation stands in it, and callbacks that show the first batch of one."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from typing_extensions import override

from sextant.contracts import Observer


def validation_writer(trainer: Trainer) -> Any | None:
    """The ``SummaryWriter`` for what a validation shows.

    Returns:
        None in a sanity check, on all processes but the first, and where the run does not log to TensorBoard.
    """
    if trainer.sanity_checking or not trainer.is_global_zero or not isinstance(trainer.logger, TensorBoardLogger):
        return None
    return trainer.logger.experiment


def validation_axis(trainer: Trainer) -> int:
    """The step of a validation in TensorBoard: the epoch, counted from 1.

    In runs that validate within epochs, the number of optimizer steps done.
    """
    at_ends = trainer.check_val_every_n_epoch is not None and trainer.val_check_batch == trainer.num_training_batches
    return trainer.current_epoch + 1 if at_ends else trainer.global_step


class FirstValidationBatch(Observer):
    """A callback that shows something of the first batch of each validation in TensorBoard.

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
        writer = validation_writer(trainer)
        if batch_idx == 0 and writer is not None:
            self.show(trainer, outputs, batch, writer, validation_axis(trainer))

    def show(self, trainer: Trainer, outputs: Any, batch: dict[str, Any], writer: Any, step: int) -> None:
        """Write to TensorBoard.

        Args:
            trainer: the Trainer.
            outputs: of ``validation_step``.
            batch: the batch.
            writer: TensorBoard's ``SummaryWriter``.
            step: of the validation.
        """
        raise NotImplementedError
