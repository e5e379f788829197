"""Resume a partial epoch so that it ends with its data, whatever the number of processes."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from typing_extensions import override

from sextant.datamodule import BaseDataModule
from sextant.lightning_internals import batches_in_checkpoint, count_epochs_by_data, datamodule_of, is_fitting
from sextant.resume.configuration_in_checkpoint import KEY


class PartialEpoch(Callback):
    """The end of an epoch that was resumed in its middle: it comes once, and with the end of the data.

    Lightning ends an epoch when it has counted as many steps as the loader has. Where dynamic batches are assigned to
    another number of processes than before, the steps before and after the restart do not add up to that many, so the
    count is set to what is missing. A DataModule that is not a :class:`BaseDataModule` is left to Lightning.
    """

    @override
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        data = datamodule_of(trainer)
        if not is_fitting(trainer) or not isinstance(data, BaseDataModule):
            return
        count_epochs_by_data(trainer)
        if former := _former_name(data, checkpoint):
            data.load_state_dict(checkpoint[former])
        if steps := data.partial_epoch_steps():
            counts = batches_in_checkpoint(checkpoint)
            shift = steps - counts["processed"]
            counts.update({stage: count + shift for stage, count in counts.items()})


def _former_name(data: BaseDataModule, checkpoint: dict[str, Any]) -> str | None:
    """The name under which a checkpoint keeps the data's position, if the class has been renamed since."""
    if type(data).__qualname__ in checkpoint or KEY not in checkpoint:
        return None
    name = checkpoint[KEY]["data"]["class_path"].rpartition(".")[2]
    return name if name in checkpoint else None
