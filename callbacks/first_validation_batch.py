"""Show something of each validation in TensorBoard."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from typing_extensions import override

from callbacks.epoch_axis import validation_axis


class FirstValidationBatch(Callback):
    """Call :meth:`show` with the first batch of each validation, where there is a board, on the first process.

    That is within the validation, where a callback that averages the weights has put the average in.
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
        if batch_idx or trainer.sanity_checking or not trainer.is_global_zero:
            return
        if isinstance(trainer.logger, TensorBoardLogger):
            self.show(trainer, outputs, batch, trainer.logger.experiment, validation_axis(trainer))

    def show(self, trainer: Trainer, outputs: Any, batch: dict[str, Any], board: Any, step: int) -> None:
        """Write to the board.

        Args:
            trainer: the Trainer.
            outputs: of ``validation_step``.
            batch: the batch.
            board: TensorBoard's ``SummaryWriter``.
            step: where the validation stands in it.
        """
        raise NotImplementedError
