"""The settings that decide what is learned, and in which of them two configurations differ."""

import sys
from collections.abc import Iterator, Mapping, Set
from typing import Any

# Settings of the Trainer that change what is learned; the others say where it runs and what is written of it.
TRAINER_KEYS = (
    "max_epochs",
    "max_steps",
    "limit_train_batches",
    "overfit_batches",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "precision",
)

FreeSettings = Mapping[str, frozenset[str]]


def free_settings(configuration: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """The settings that may differ between a run and its continuation, for ``model`` and ``data``.

    They are what the classes declare as ``free_settings``. The classes are looked up among what is imported already, so
    that no configuration can name code to run.

    Args:
        configuration: of a command that was parsed, as plain values.
    """
    found: dict[str, frozenset[str]] = {}
    for part in ("model", "data"):
        module, _, name = configuration[part]["class_path"].rpartition(".")
        found[part] = getattr(getattr(sys.modules.get(module), name, None), "free_settings", frozenset())
    return found


def model_settings(configuration: Mapping[str, Any], free: FreeSettings) -> dict[str, Any]:
    """The part of a configuration that decides what a trained model answers.

    Args:
        configuration: plain values, as ``config.yaml`` of a run has them.
        free: what :func:`free_settings` gives, which is left out.
    """
    return {"model": _without_free(configuration["model"], free["model"])}


def learning_settings(configuration: Mapping[str, Any], free: FreeSettings) -> dict[str, Any]:
    """The part of a configuration that decides what is learned.

    Args:
        configuration: plain values, as ``config.yaml`` of a run has them.
        free: what :func:`free_settings` gives, which is left out.
    """
    return {
        "seed_everything": configuration.get("seed_everything"),
        "trainer": {k: configuration["trainer"][k] for k in TRAINER_KEYS if k in configuration["trainer"]},
        "model": _without_free(configuration["model"], free["model"]),
        "data": _without_free(configuration["data"], free["data"]),
    }


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


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Compare two nested configurations.

    Yields:
        The key as it is written on the command line, the old value and the new one, for each that differs. Of two
        objects of different classes, the classes alone.
    """
    if old.get("class_path") != new.get("class_path"):
        yield prefix, old.get("class_path"), new.get("class_path")
        return
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
