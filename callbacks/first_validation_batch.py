"""Show something of each validation in TensorBoard."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from typing_extensions import override

from callbacks.epoch_axis import validation_axis
from callbacks.validation_board import validation_board


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
        board = validation_board(trainer)
        if batch_idx == 0 and board is not None:
            self.show(trainer, outputs, batch, board, validation_axis(trainer))

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
