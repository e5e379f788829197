"""Which rows of a click log are for training, for validation and for tests."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sextant.errors import InputError
from sextant.samplers.fixed.keyed_permutation import KeyedPermutation

SPLITS = ("train", "val", "test")
KEY = 0  # of the random split, which is the same for every seed of a run: what was trained on is never tested on


@dataclass(frozen=True)
class Portion:
    """Some of the rows of a click log.

    Args:
        start: the position of the first one.
        size: how many rows.
        order: a permutation of all rows of the log; without it the rows are in the order of the log.
    """

    start: int
    size: int
    order: KeyedPermutation | None = None

    def rows(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of the log at positions of this portion, from 0 to ``size - 1``."""
        return self.start + places if self.order is None else self.order[self.start + places]

    def holds(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which rows of the log are in this portion."""
        places = rows if self.order is None else self.order.places(rows)
        return (places >= self.start) & (places < self.start + self.size)


@dataclass(frozen=True)
class SplitRule:
    """How the rows of training files are split where there are no other files.

    Args:
        how: ``chronological``: the first rows are for training, the last for tests; ``random``: at random, the same
            for every run.
        fractions: fractions of the rows for training, validation and tests, which sum to 1.

    Raises:
        InputError: ``fractions`` are not three fractions that sum to 1.
    """

    how: Literal["chronological", "random"]
    fractions: Sequence[float]

    def __post_init__(self) -> None:
        fractions = list(self.fractions)
        if len(fractions) != len(SPLITS) or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
            raise InputError(
                f"data.files.fractions is {fractions}; it must be three fractions of 0 or more that sum to 1: for "
                "training, validation and tests."
            )

    def portions(self, rows: Mapping[str, int]) -> dict[str, Portion]:
        """The portions of a log.

        Args:
            rows: how many the files of each split have, in the order of the log. If there are training files alone,
                their rows are split.
        """
        if list(rows) != ["train"]:
            starts = itertools.accumulate(rows.values(), initial=0)
            return {split: Portion(start, size) for (split, size), start in zip(rows.items(), starts, strict=False)}
        total = rows["train"]
        order = KeyedPermutation(total, [KEY]) if self.how == "random" and total else None
        bounds = [0, *(round(fraction * total) for fraction in itertools.accumulate(self.fractions))]
        return {
            split: Portion(start, stop - start, order)
            for split, (start, stop) in zip(SPLITS, itertools.pairwise(bounds), strict=True)
        }
