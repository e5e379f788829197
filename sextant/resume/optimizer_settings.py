"""The command's settings of optimizers and schedules, which hold where a run is gone on with."""

from copy import deepcopy
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from sextant.errors import InputError
from sextant.lightning_internals import is_fitting
from sextant.optimization import RunSchedule

KEY = "optimizer_settings"


class OptimizerSettings(Callback):
    """What the command says of its optimizers and schedules, in force after their state was restored.

    torch restores settings as part of the state, so that a resumed run would have those of the checkpoint. Each
    checkpoint says what the settings were at the beginning of the run. Those that the command has otherwise are set; a
    learning rate is scaled, so that what schedules made of it stays.

    Raises:
        InputError: the state cannot be that of the command's optimizer or schedule.
    """

    def __init__(self) -> None:
        self._command: dict[str, Any] = {}
        self._checkpoint: dict[str, Any] | None = None

    @override
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if is_fitting(trainer):
            self._checkpoint = checkpoint.get(KEY)

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._command = {"optimizers": _optimizers(trainer), "schedules": _schedules(trainer)}
        if self._checkpoint is not None:
            _require_same_kind(self._checkpoint, self._command)

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[KEY] = self._command

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._checkpoint is None:
            return
        for i, (old, new) in enumerate(zip(self._checkpoint["optimizers"], self._command["optimizers"], strict=True)):
            for group, was, is_now in zip(trainer.optimizers[i].param_groups, old, new, strict=True):
                _set(group, was, is_now)
        for config, was, is_now in zip(
            trainer.lr_scheduler_configs, self._checkpoint["schedules"], self._command["schedules"], strict=True
        ):
            schedule: Any = config.scheduler
            _set(vars(schedule), was["settings"], is_now["settings"])
            if isinstance(schedule, RunSchedule):  # whose rate is a function of the step
                for group, rate in zip(schedule.optimizer.param_groups, schedule.get_lr(), strict=True):
                    group["lr"] = rate
        self._checkpoint = None


def _optimizers(trainer: Trainer) -> list[list[dict[str, Any]]]:
    """The settings of each optimizer's groups of parameters."""
    return [
        [{key: deepcopy(value) for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
        for optimizer in trainer.optimizers
    ]


def _schedules(trainer: Trainer) -> list[dict[str, Any]]:
    """The class and the settings of each schedule, among them what changes in the run as it is at its beginning."""
    return [
        {"class": type(config.scheduler).__qualname__, "settings": deepcopy(config.scheduler.state_dict())}
        for config in trainer.lr_scheduler_configs
    ]


def _require_same_kind(old: dict[str, Any], new: dict[str, Any]) -> None:
    groups = [[len(optimizer) for optimizer in settings["optimizers"]] for settings in (old, new)]
    if groups[0] != groups[1]:
        raise InputError(
            f"The checkpoint's optimizer has {groups[0]} groups of parameters, and this command's has {groups[1]}: its "
            "state cannot be taken on. Give model.optimizer and what makes groups, such as model.decay_norm_and_bias, "
            "as the checkpoint has them."
        )
    classes = [[schedule["class"] for schedule in settings["schedules"]] for settings in (old, new)]
    if classes[0] != classes[1]:
        names = [", ".join(found) or "none" for found in classes]
        raise InputError(
            f"The checkpoint's schedule is {names[0]}, and this command's is {names[1]}: its state cannot be taken on. "
            "Give model.scheduler as the checkpoint has it."
        )


def _set(current: dict[str, Any], old: dict[str, Any], new: dict[str, Any]) -> None:
    """Set what is new in the command, where the rest was restored."""
    for key, value in new.items():
        if key not in old or old[key] == value or key.startswith("_"):
            continue
        if key == "lr" and isinstance(value, float) and old[key]:
            current[key] *= value / old[key]
        else:
            current[key] = deepcopy(value)
