"""An axis that counts epochs, for what is logged once an epoch."""

from lightning.pytorch import LightningModule, Trainer
from typing_extensions import override

from callbacks.validations import validation_axis
from sextant.contracts import Observer
from sextant.lightning_internals import is_fitting


class EpochAxis(Observer):
    """The epoch, counted from 1, as the step of epoch metrics in the log.

    Lightning takes a metric named ``step`` as the step of all metrics that are logged together with it. Metrics that
    are logged within an epoch keep the number of the optimizer step. In runs that validate within epochs, epoch metrics
    stand at optimizer steps too: the curves of training and validation have one axis.
    """

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.log("step", float(validation_axis(trainer)))

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if is_fitting(trainer) and not trainer.sanity_checking:
            pl_module.log("step", float(validation_axis(trainer)))
