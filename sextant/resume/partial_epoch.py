"""Resume a partial epoch so that it ends with its data, whatever the number of processes, and validates as it would."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, Timer
from typing_extensions import override

from sextant.datamodule import BaseDataModule
from sextant.lightning_internals import (
    batches_in_checkpoint,
    callbacks_of,
    count_epochs_by_data,
    datamodule_of,
    end_again,
    end_with_loader,
    is_fitting,
    total_batches,
    validation_due,
    write_point_to_resume,
)
from sextant.resume.run_configuration import KEY


class PartialEpoch(Callback):
    """The rest of an epoch that was resumed in its middle: it comes once, and ends with the data.

    Lightning ends an epoch when it has counted as many steps as the loader has. Where dynamic batches are assigned to
    another number of processes than before, the steps before and after the restart do not add up to that many, so the
    count is set to what is missing. A DataModule that is not a :class:`BaseDataModule` is left to Lightning.

    Every checkpoint says whether the validation that belongs to its step was done, and where it was not, the resumed
    run begins with it; Lightning takes it for done. A run that has stopped within an epoch, because of ``max_steps`` or
    ``max_time``, is resumed within it; Lightning takes the epoch for done. Where no step is left, a run ends
    once more: it may have been killed before it had. The limit ``max_time`` counts for each command.
    """

    def __init__(self) -> None:
        self._validated = 0  # the training batches of the run before the last validation

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            end_again(trainer, lambda: self._is_validated(trainer))

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if is_fitting(trainer) and not trainer.sanity_checking:
            self._validated = total_batches(trainer)

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if is_fitting(trainer) and not trainer.sanity_checking:
            due = not self._is_validated(trainer) and validation_due(trainer)
            write_point_to_resume(checkpoint, validates=due)

    def _is_validated(self, trainer: Trainer) -> bool:
        """Whether there was a validation after the training batch under way."""
        return self._validated == total_batches(trainer)

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"validated": self._validated}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._validated = state_dict["validated"]

    @override
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if not is_fitting(trainer):
            return
        for callback in callbacks_of(trainer):
            if isinstance(callback, Timer):
                checkpoint["callbacks"].pop(callback.state_key, None)
        data = datamodule_of(trainer)
        if not isinstance(data, BaseDataModule):
            return
        count_epochs_by_data(trainer)
        if former := _former_name(data, checkpoint):
            data.load_state_dict(checkpoint[former])
        if steps := data.partial_epoch_steps():
            counts = batches_in_checkpoint(checkpoint)
            shift = steps - counts["processed"]
            counts.update({stage: count + shift for stage, count in counts.items()})

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        end_with_loader(trainer)


def _former_name(data: BaseDataModule, checkpoint: dict[str, Any]) -> str | None:
    """The name under which a checkpoint keeps the data's position, if the class has been renamed since."""
    if type(data).__qualname__ in checkpoint or KEY not in checkpoint:
        return None
    name = checkpoint[KEY]["data"]["class_path"].rpartition(".")[2]
    return name if name in checkpoint else None
