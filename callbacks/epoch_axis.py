"""Put what is logged once an epoch on an axis that counts epochs."""

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from typing_extensions import override


def validation_axis(trainer: Trainer) -> int:
    """Where a validation stands in TensorBoard: the epoch, counted from 1.

    In runs that validate within epochs, the optimizer steps that were done.
    """
    at_ends = trainer.check_val_every_n_epoch is not None and trainer.val_check_batch == trainer.num_training_batches
    return trainer.current_epoch + 1 if at_ends else trainer.global_step


class EpochAxis(Callback):
    """Give epoch metrics the epoch, counted from 1, as their step in TensorBoard.

    Lightning uses a metric named ``step`` as the step of all metrics that are logged together with it. Those logged
    within an epoch keep the number of the optimizer step. Validations stand at :func:`validation_axis`.
    """

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.log("step", float(trainer.current_epoch + 1))

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            pl_module.log("step", float(validation_axis(trainer)))
