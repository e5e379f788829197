"""The settings that decide what is learned, and in which of them two configurations differ."""

import sys
from collections.abc import Iterator, Mapping, Set
from typing import Any

from lightning.fabric.plugins import CheckpointIO, ClusterEnvironment
from lightning.pytorch.callbacks import DeviceStatsMonitor, LearningRateMonitor, ModelSummary, ProgressBar, Timer

from sextant.contracts import Observer

#: Settings of the Trainer that say where a run runs, what is written of it, and how far one command goes. All others
#: change what is learned, what is measured, or what is called best.
FREE_TRAINER_SETTINGS = frozenset(
    {
        *("accelerator", "devices", "num_nodes", "strategy", "default_root_dir", "max_time"),
        *("logger", "log_every_n_steps", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"),
        *("enable_autolog_hparams", "model_registry", "profiler", "detect_anomaly", "inference_mode", "barebones"),
        *("num_sanity_val_steps", "limit_test_batches", "limit_predict_batches"),
    }
)
#: The same of the checkpoint that is called best: where it is, and what it is called.
FREE_BEST_CHECKPOINT_SETTINGS = frozenset(
    {
        *("dirpath", "filename", "verbose", "save_last", "save_weights_only", "save_on_exception"),
        *("auto_insert_metric_name", "enable_version_counter"),
    }
)
#: Groups of settings that belong to one command alone.
FREE_GROUPS = frozenset(
    {
        *("config", "name", "ckpt_path", "settings_from", "random_weights", "stop_after"),
        *("recovery_checkpoint", "predictions"),
    }
)
#: Lightning's callbacks that only watch, and plugins that only say how files are written and processes are found.
FREE_CLASSES = (
    *(ModelSummary, ProgressBar, LearningRateMonitor, DeviceStatsMonitor, Timer, Observer),
    *(CheckpointIO, ClusterEnvironment),
)

CLASSES_OF_TRAINER = ("callbacks", "plugins")

FreeSettings = Mapping[str, frozenset[str]]


def free_settings(configuration: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """The settings that may differ between a run and its continuation, for ``model`` and ``data``.

    They are what the classes declare as ``free_settings``.

    Args:
        configuration: of a command that was parsed, as plain values.
    """
    parts = ("model", "data")
    return {part: getattr(_known(configuration[part]["class_path"]), "free_settings", frozenset()) for part in parts}


def _known(class_path: str) -> Any:
    """A class, looked up among what is imported already, so that no configuration can name code to run; None if not."""
    module, _, name = class_path.rpartition(".")
    return getattr(sys.modules.get(module), name, None)


def model_settings(
    configuration: Mapping[str, Any], free: FreeSettings, meaning: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """The part of a configuration that decides what a trained model answers.

    Args:
        configuration: plain values, as ``config.yaml`` of a run has them.
        free: what :func:`free_settings` gives, which is left out.
        meaning: settings of the data that are kept with the model; the class of the data does not matter.
    """
    part = {"model": _without_free(configuration["model"], free["model"])}
    data = configuration.get("data")
    settings = data.get("init_args") if isinstance(data, Mapping) else None
    kept = _without(_only(settings if isinstance(settings, Mapping) else {}, meaning), free["data"])
    return part | ({"data": {"init_args": kept}} if kept else {})


def settings_with_meaning(configuration: Mapping[str, Any]) -> frozenset[str]:
    """The settings of a command's data that are kept with the model: what its class declares as ``model_settings``.

    Args:
        configuration: of a command that was parsed, as plain values.
    """
    found: frozenset[str] = getattr(_known(configuration["data"]["class_path"]), "model_settings", frozenset())
    return found


def learning_settings(configuration: Mapping[str, Any], free: FreeSettings) -> dict[str, Any]:
    """The part of a configuration that decides what is learned, what is measured and what is called best.

    Args:
        configuration: plain values, as ``config.yaml`` of a run has them.
        free: what :func:`free_settings` gives, which is left out.

    Returns:
        The same without what is free, and with the callbacks and plugins of the Trainer by the names of their classes.
    """
    kept = {key: value for key, value in configuration.items() if key not in FREE_GROUPS and not _watches(value)}
    trainer = {key: v for key, v in configuration["trainer"].items() if key not in FREE_TRAINER_SETTINGS}
    best = configuration.get("best_checkpoint") or {}
    return kept | {
        "trainer": trainer | {key: _by_class(trainer.get(key)) for key in CLASSES_OF_TRAINER},
        "model": _without_free(configuration["model"], free["model"]),
        "data": _without_free(configuration["data"], free["data"]),
        "best_checkpoint": {key: value for key, value in best.items() if key not in FREE_BEST_CHECKPOINT_SETTINGS},
    }


def settings_to_take(learned: Mapping[str, Any], configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a checkpoint in the form in which a command is given them.

    Args:
        learned: what :func:`learning_settings`, or :func:`model_settings`, gives of the checkpoint.
        configuration: of the command, whose callbacks and plugins stay where they are free.
    """
    if "trainer" not in learned:
        return dict(learned)
    trainer = dict(learned["trainer"])
    for key in CLASSES_OF_TRAINER:
        own = [each for each in _listed(configuration["trainer"].get(key)) if _watches(each)]
        trainer[key] = [*own, *trainer[key].values()] or None
    return {**learned, "trainer": trainer}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _by_class(value: Any) -> dict[str, Any]:
    """Callbacks or plugins that are not free, by the names of their classes."""
    found: dict[str, Any] = {}
    for each in _listed(value):
        if not _watches(each):
            name = (each["class_path"] if isinstance(each, Mapping) else str(each)).rpartition(".")[2]
            again = sum(known.partition("#")[0] == name for known in found)
            found[f"{name}#{again + 1}" if again else name] = each
    return found


def _watches(value: Any) -> bool:
    """Whether a value is an object of a class that changes nothing that is learned."""
    known = _known(str(value["class_path"])) if isinstance(value, Mapping) and "class_path" in value else None
    return isinstance(known, type) and issubclass(known, FREE_CLASSES)


def _without_free(part: Mapping[str, Any], free: Set[str]) -> dict[str, Any]:
    return {**part, "init_args": _without(part.get("init_args", {}), free)}


def _without(settings: Mapping[str, Any], free: Set[str]) -> dict[str, Any]:
    """Nested settings without the free ones, whose keys have dots as on the command line."""
    kept = {}
    for key, value in settings.items():
        if key not in free:
            within = {name.removeprefix(f"{key}.") for name in free if name.startswith(f"{key}.")}
            kept[key] = _without(value, within) if within and isinstance(value, Mapping) else value
    return kept


def _only(settings: Mapping[str, Any], names: Set[str]) -> dict[str, Any]:
    """Nested settings with some names alone, which have dots as on the command line."""
    kept = {}
    for key, value in settings.items():
        within = {name.removeprefix(f"{key}.") for name in names if name.startswith(f"{key}.")}
        if key in names:
            kept[key] = value
        elif within and isinstance(value, Mapping):
            kept[key] = _only(value, within)
    return kept


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Compare two nested configurations.

    Yields:
        The key as it is written on the command line, the old value and the new one, for each that differs. Of two
        objects of different classes, the classes alone; of two mappings with the same keys in another order, the keys.
    """
    if old.get("class_path") != new.get("class_path"):
        yield prefix, old.get("class_path"), new.get("class_path")
        return
    if old.keys() == new.keys() and list(old) != list(new):
        yield prefix, list(old), list(new)
    for key in {**old, **new}:
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from differences(a, b, _key(prefix, key))
        elif a != b:
            yield _key(prefix, key), a, b


def other_classes(old: Any, new: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The classes that one nested configuration names and the other does not name in the same place.

    Args:
        old: plain values.
        new: plain values.
        prefix: key of both.

    Yields:
        The key as it is written on the command line, and the class of ``old``.
    """
    counterpart = new if isinstance(new, Mapping) else {}
    if isinstance(old, Mapping):
        if "class_path" in old and old["class_path"] != counterpart.get("class_path"):
            yield prefix, str(old["class_path"])
            return
        for key, value in old.items():
            yield from other_classes(value, counterpart.get(key), _key(prefix, key))
    elif isinstance(old, list):
        values = new if isinstance(new, list) else []
        for i, value in enumerate(old):
            yield from other_classes(value, values[i] if i < len(values) else None, f"{prefix}.{i}")
    elif isinstance(old, str) and "class_path" in counterpart:  # the short form, without arguments
        yield prefix, old


def _key(prefix: str, key: object) -> str:
    return prefix if key == "init_args" else f"{prefix}.{key}" if prefix else str(key)
