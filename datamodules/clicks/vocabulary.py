"""The vocabulary of a categorical column: its most frequent values, counted in bounded memory."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from datamodules.clicks.keys import MISSING, Keys
from sextant.samplers.fixed.keyed_permutation import mix

HELD = 2**21  # distinct values that are counted at a time: about 170 MB with what sorting them takes


def frequent_keys(chunks: Callable[[], Iterator[Keys]], min_count: int, limit: int, held: int = HELD) -> Keys:
    """The most frequent keys, uint64 (at most ``limit``,), the most frequent first and of equal ones the lowest.

    If there are more distinct keys than can be held, a hash assigns each to one of several parts, which are counted one
    after another: this takes more time, not more memory.

    Args:
        chunks: reads all keys, a part at a time; :data:`~datamodules.clicks.keys.MISSING` does not count.
        min_count: keys that come less often are left out.
        limit: the most keys to give.
        held: how many distinct keys are held.
    """
    parts = 1
    while (found := _in_parts(chunks, min_count, limit, held, parts)) is None:
        parts *= 2
    return found


def _in_parts(chunks: Callable[[], Iterator[Keys]], min_count: int, limit: int, held: int, parts: int) -> Keys | None:
    """As :func:`frequent_keys`, or None if a part has too many distinct keys."""
    best, best_counts = np.empty(0, np.uint64), np.empty(0, np.int64)
    for part in range(parts):
        counted = _counts(chunks, held, part, parts)
        if counted is None:
            return None
        often = counted[1] >= min_count
        keys, counts = np.concatenate([best, counted[0][often]]), np.concatenate([best_counts, counted[1][often]])
        first = np.lexsort((keys, -counts))[:limit]
        best, best_counts = keys[first], counts[first]
    return best


def _counts(
    chunks: Callable[[], Iterator[Keys]], held: int, part: int, parts: int
) -> tuple[Keys, NDArray[np.int64]] | None:
    """The distinct keys of a part, ascending, and the count of each; None if they are too many."""
    keys, counts = np.empty(0, np.uint64), np.empty(0, np.int64)
    waiting: list[tuple[Keys, NDArray[np.int64]]] = []

    def merged() -> tuple[Keys, NDArray[np.int64]]:
        every = np.concatenate([keys, *(found for found, _ in waiting)])
        distinct, place = np.unique(every, return_inverse=True)
        totals = np.zeros(len(distinct), np.int64)
        np.add.at(totals, place, np.concatenate([counts, *(found for _, found in waiting)]))
        waiting.clear()
        return distinct, totals

    for chunk in chunks():
        chosen = chunk[chunk != MISSING]
        if parts > 1:
            # Another hash than the one by which values fall on the rows of a table, and on all bits of the key.
            chosen = chosen[mix(~chosen) % np.uint64(parts) == part]
        waiting.append(np.unique(chosen, return_counts=True))
        if sum(len(found) for found, _ in waiting) > held // 2:
            keys, counts = merged()
            if len(keys) > held // 2:
                return None
    return merged()


class Vocabulary:
    """Rows of a table by key: the first key has row 1, and a key outside the vocabulary has row 0.

    Args:
        keys: uint64 (K,), all distinct.
    """

    def __init__(self, keys: Keys) -> None:
        order = np.argsort(keys)
        self._keys = keys[order]
        self._rows = (order + 1).astype(np.int32)

    def rows(self, keys: Keys) -> NDArray[np.int32]:
        """The rows of some keys, int32, in the shape of ``keys``."""
        if not len(self._keys):
            return np.zeros(keys.shape, np.int32)
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[place] == keys, self._rows[place], 0).astype(np.int32)
