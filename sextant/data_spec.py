"""What a model must know of its data beyond the batches: given by the DataModule, kept in the checkpoint."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, Protocol, runtime_checkable

from sextant.errors import InputError


class Difference(NamedTuple):
    """The first place in which two descriptions of data differ.

    Attributes:
        fact: the field of :class:`DataSpec`.
        place: the position or the key in it.
        here: what the one has there, None for nothing.
        there: what the other has there, None for nothing.
    """

    fact: str
    place: int | str
    here: Any
    there: Any


@dataclass(frozen=True)
class DataSpec:
    """The facts about a data set that a model depends on. What a workload does not have stays empty.

    Args:
        labels: names of what the model's outputs stand for, in their order: classes, words, characters or answers.
        label_ids: published ids of the labels in the same order, such as WordNet's, where they have any.
        table_sizes: for each categorical feature, in order, the rows of its embedding table.
        dense_features: names of the features that are numbers, in order.
        input_sizes: sizes of the inputs by name, such as ``image_size`` in pixels. The model says which of them it
            can take (``check_data``), so two descriptions that differ in them alone count as the same.
    """

    labels: tuple[str, ...] = ()
    label_ids: tuple[str, ...] = ()
    table_sizes: Mapping[str, int] = field(default_factory=dict)
    dense_features: tuple[str, ...] = ()
    input_sizes: Mapping[str, int] = field(default_factory=dict, compare=False)

    def state_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: dict(v) if isinstance(v, Mapping) else list(v) for name, v in values.items()}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> "DataSpec":
        """The inverse of :meth:`state_dict`."""
        values: dict[str, Any] = {n: dict(v) if isinstance(v, Mapping) else tuple(v) for n, v in state.items()}
        return cls(**values)

    def difference(self, other: "DataSpec") -> Difference | None:
        """The first difference from another description; what is empty in one of the two is not compared."""
        for each in fields(self):
            here, there = getattr(self, each.name), getattr(other, each.name)
            if each.compare and here and there and (differing := next(_differing(here, there), None)):
                return Difference(each.name, *differing)
        return None

    def completed(self, other: "DataSpec") -> "DataSpec":
        """This description, with what is empty in it taken from another, if the two do not differ."""
        if self.difference(other) is not None:
            return self
        return DataSpec(**{each.name: getattr(self, each.name) or getattr(other, each.name) for each in fields(self)})

    def require_same(self, trained: "DataSpec") -> None:
        """Require that a checkpoint was trained on this data.

        Args:
            trained: the description in the checkpoint.

        Raises:
            InputError: they differ; the message names the first difference.
        """
        if found := self.difference(trained):
            counts = f"{len(getattr(trained, found.fact)):,} and {len(getattr(self, found.fact)):,}"
            place = f"at {found.place}" if isinstance(found.place, int) else f"for {found.place!r}"
            raise InputError(
                f"The checkpoint was trained on other data: its {found.fact.replace('_', ' ')} have {found.there!r} "
                f"{place} where the data has {found.here!r} ({counts} in all). Give the data and the "
                "settings that it was trained with, such as --data.root."
            )

    def require_labels(self) -> tuple[str, ...]:
        """The labels, for what cannot be done without them.

        Raises:
            InputError: neither data nor a checkpoint gives them.
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
            first = [*self.labels[:2], *(["..."] if len(self.labels) > 2 else [])]
            raise InputError(
                f"model.{setting} is {count:,}, but the data has {len(self.labels):,} labels ({', '.join(first)}). Run "
                f"with --model.{setting}={len(self.labels)}, or give other data with --data.root."
            )


def _differing(here: Any, there: Any) -> Iterator[tuple[int | str, Any, Any]]:
    if isinstance(here, Mapping):
        yield from (
            (key, here.get(key), there.get(key)) for key in {**here, **there} if here.get(key) != there.get(key)
        )
    pairs = enumerate(itertools.zip_longest(here, there))  # of mappings the keys, whose order counts
    yield from ((place, a, b) for place, (a, b) in pairs if a != b)


@runtime_checkable
class Describes(Protocol):
    """Data that says what a model must know of it."""

    def data_spec(self) -> DataSpec:
        """What is known after ``setup``."""
