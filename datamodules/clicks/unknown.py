"""How many values of each split a vocabulary does not have."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from datamodules.clicks.keys import MISSING, Keys
from datamodules.clicks.splits import Portion

NAMED = 5  # columns that a message names
Splits = NDArray[np.uint8]  # of some rows or values, the place of the split of each among the splits


def splits_of(portions: Mapping[str, Portion], rows: NDArray[np.int64]) -> Splits:
    """The place among ``portions`` of the split that each row is in; how many these are for a row in none."""
    places = np.full(rows.shape, len(portions), np.uint8)
    for place, portion in enumerate(portions.values()):
        places[portion.holds(rows)] = place
    return places


def count_unknown(splits: Splits, keys: Keys, ids: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """How many values there are and how many of these are unknown, int64 (2, count), by split.

    Args:
        splits: of each value.
        keys: the values; :data:`~datamodules.clicks.keys.MISSING` does not count.
        ids: the rows of the table that the vocabulary gives them, 0 for unknown ones.
        count: of the splits.
    """
    there = keys != MISSING
    chosen = (there, there & (ids == 0))
    return np.stack([np.bincount(splits[which], minlength=count)[:count] for which in chosen])


def unknown_report(counts: Mapping[str, Sequence[int]], split: str) -> str:
    """What a person is told about the values of a split.

    Args:
        counts: by column, how many values there are and how many of these are unknown.
        split: its name.
    """
    values, unknown = (sum(of_column[i] for of_column in counts.values()) for i in (0, 1))
    fractions = {column: missing / of_column for column, (of_column, missing) in counts.items() if missing}
    first = sorted(fractions, key=lambda column: -fractions[column])
    named = ", ".join(f"{column} {fractions[column]:.1%}" for column in first[:NAMED])
    more = f" and at most as many in {len(first) - NAMED} more columns" if len(first) > NAMED else ""
    where = f" ({named}{more})" if named else ""
    return (
        f"Of the {values:,} categorical values in the {split} rows {unknown / max(1, values):.2%} are unknown, not in "
        f"the vocabulary of the training rows{where}."
    )
