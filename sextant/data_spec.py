"""What a model must know of its data beyond the batches: told by the DataModule, kept in the checkpoint."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, runtime_checkable

from sextant.errors import InputError


@dataclass(frozen=True)
class DataSpec:
    """The facts about a data set that a model depends on. What a workload does not have stays empty.

    Args:
        labels: names of what the model's outputs stand for, in their order: classes, words, characters or answers.
        label_ids: published ids of the labels in the same order, such as WordNet's, where they have any.
        table_sizes: for each categorical feature, in order, the rows of its embedding table.
        dense_features: names of the features that are numbers, in order.
        input_sizes: sizes of the inputs by name, such as ``image_size`` in pixels.
    """

    labels: tuple[str, ...] = ()
    label_ids: tuple[str, ...] = ()
    table_sizes: Mapping[str, int] = field(default_factory=dict)
    dense_features: tuple[str, ...] = ()
    input_sizes: Mapping[str, int] = field(default_factory=dict)

    def state_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: dict(v) if isinstance(v, Mapping) else list(v) for name, v in values.items()}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> "DataSpec":
        """The inverse of :meth:`state_dict`."""
        values: dict[str, Any] = {n: dict(v) if isinstance(v, Mapping) else tuple(v) for n, v in state.items()}
        return cls(**values)

    def require_same(self, trained: "DataSpec") -> None:
        """Require that a model that was trained on other data can be used on this data.

        Args:
            trained: what a checkpoint has. What is empty in one of the two is not compared.

        Raises:
            InputError: they differ; the message names the first difference.
        """
        for each in fields(self):
            here, there = getattr(self, each.name), getattr(trained, each.name)
            if not here or not there or here == there:
                continue
            place, new, old = next(_differing(here, there))
            raise InputError(
                f"The checkpoint was trained on other data: its {each.name.replace('_', ' ')} have {old!r} for "
                f"{place!r} where the data has {new!r} ({len(there):,} and {len(here):,} in all). Give the data and "
                "the settings that it was trained with, such as --data.root."
            )

    def require_labels(self) -> tuple[str, ...]:
        """The labels, for what cannot be done without them.

        Raises:
            InputError: neither data nor a checkpoint has told them.
        """
        if not self.labels:
            raise InputError(
                "The model was not trained, so it does not know what its outputs stand for. Give a checkpoint: "
                "--ckpt_path=best is the newest run's."
            )
        return self.labels

    def require_label_count(self, count: int, setting: str) -> None:
        """Require that a model has an output for each label, where they are known.

        Args:
            count: outputs of the model.
            setting: of the model that says how many, such as ``num_classes``.

        Raises:
            InputError: there are more or fewer labels.
        """
        if self.labels and len(self.labels) != count:
            raise InputError(
                f"model.{setting} is {count:,}, but the data has {len(self.labels):,} labels. Run with "
                f"--model.{setting}={len(self.labels)}, or give other data."
            )

    def merged(self, other: "DataSpec") -> "DataSpec":
        """This one, with what is empty in it taken from another."""
        return DataSpec(**{f.name: getattr(self, f.name) or getattr(other, f.name) for f in fields(self)})


def _differing(here: Any, there: Any) -> Iterator[tuple[Any, Any, Any]]:
    if isinstance(here, Mapping):
        pairs = ((key, here.get(key), there.get(key)) for key in {**here, **there})
    else:
        pairs = ((i, a, b) for i, (a, b) in enumerate(itertools.zip_longest(here, there)))
    yield from (pair for pair in pairs if pair[1] != pair[2])
    yield "the order", list(here), list(there)  # mappings that differ in nothing else


@runtime_checkable
class Describes(Protocol):
    """Data that says what a model must know of it."""

    def data_spec(self) -> DataSpec:
        """What is known after ``setup``."""
