"""TensorBoard's HParams: the settings of a run, those that matter most first, with the best value."""

import re
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from typing_extensions import override

from callbacks.validations import validates_at_epoch_ends
from sextant.contracts import Observer
from sextant.lightning_internals import callbacks_of
from sextant.logs.best_value import best_value
from sextant.logs.drawing import tensorboard_loggers
from sextant.resume.run_configuration import RunConfiguration
from sextant.resume.settings import free_settings, learning_settings

#: What matters most, by its key. TensorBoard sorts by name, in which capitals come first, and shows five at first.
NAMES = {
    r"data\.batch_size": "Batch size",
    r"data\.batching\.max_batch_length": "Batch length",
    r"trainer\.max_epochs": "Epochs",
    r"model\.((?P<part>\w+)_)?optimizer\.lr": "Learning rate",
    r"model\.((?P<part>\w+)_)?optimizer\.class_path": "Optimizer",
    r"model\.scheduler\.class_path": "Schedule",
    r"seed_everything": "Seed",
    r"model\.((?P<part>\w+)_)?optimizer\.weight_decay": "Weight decay",
}


class Hyperparameters(Observer):
    """The settings of a run on TensorBoard's HParams page, and the best value so far.

    That is of the metric that ``best.ckpt`` is chosen by, as ``<split>/best_<metric>``.
    """

    # best.ckpt is chosen after the other callbacks' on_train_epoch_end, so the next hook reports it.
    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._log(trainer)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._log(trainer)

    def _log(self, trainer: Trainer) -> None:
        best = best_value(trainer)
        loggers = tensorboard_loggers(trainer)
        if best is None or not loggers:
            return
        monitor, value, _ = best
        split, _, metric = monitor.rpartition("/")
        shown = {f"{split}/best_{metric}".lstrip("/"): value}
        step = trainer.current_epoch if validates_at_epoch_ends(trainer) else trainer.global_step
        for callback in callbacks_of(trainer):
            if isinstance(callback, RunConfiguration):
                settings = learning_settings(callback.configuration, free_settings(callback.configuration))
                for logger in loggers:
                    logger.log_hyperparams(shown_settings(settings), shown, step)


def shown_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings on one level, in values that TensorBoard shows: what matters most by its name, the rest by their keys.

    Args:
        settings: nested, as :func:`~sextant.resume.settings.learning_settings` gives them.
    """
    first, rest = {}, {}
    for key, value in _flat(settings).items():
        for pattern, name in NAMES.items():
            if match := re.fullmatch(pattern, key):
                part = match.groupdict().get("part")
                shown = value.rpartition(".")[2] if key.endswith("class_path") else value
                first[f"{name} ({part})" if part else name] = shown
                break
        else:
            rest[key] = value
    return dict(sorted(first.items())) | rest


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level, named as on the command line, in values that TensorBoard shows."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            flat |= _flat(value, prefix if key == "init_args" else f"{prefix}{key}.")
        elif value is not None:
            flat[f"{prefix}{key}"] = value if isinstance(value, bool | int | float) else str(value)
    return flat
