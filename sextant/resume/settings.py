"""The settings that decide what is learned, and in which of them two configurations differ."""

from collections.abc import Iterator, Mapping, Set
from pkgutil import resolve_name
from typing import Any

# Settings of the Trainer that change what is learned; the others say where and how it is watched.
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


def course(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a configuration that decides what is learned.

    Settings that the classes of the model and of the data call free (``free_settings``) do not.

    Args:
        configuration: plain values, as ``config.yaml`` of a run has them.
    """
    return {
        "seed_everything": configuration["seed_everything"],
        "trainer": {k: configuration["trainer"][k] for k in TRAINER_KEYS if k in configuration["trainer"]},
        "model": without_free_settings(configuration["model"]),
        "data": without_free_settings(configuration["data"]),
    }


def without_free_settings(part: Mapping[str, Any]) -> dict[str, Any]:
    """A class and its arguments, without those that may differ between a run and its continuation.

    Args:
        part: ``class_path`` and ``init_args``.
    """
    free: frozenset[str] = getattr(resolve_name(part["class_path"]), "free_settings", frozenset())
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
        name = prefix if key == "init_args" else f"{prefix}.{key}" if prefix else str(key)
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from differences(a, b, name)
        elif a != b:
            yield name, a, b
