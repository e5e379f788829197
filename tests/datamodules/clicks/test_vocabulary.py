"""Counting in parts gives what counting at once gives, and rows of tables follow from it."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from datamodules.clicks.vocabulary import Vocabulary, frequent_keys

KEYS = st.lists(st.lists(st.integers(0, 40) | st.integers(2**64 - 3, 2**64 - 1), max_size=60), max_size=5)


@settings(max_examples=150, deadline=None)
@given(chunks=KEYS, min_count=st.integers(1, 4), limit=st.integers(1, 50), held=st.sampled_from([8, 20, 10_000]))
def test_most_frequent_keys_come_first_however_few_are_held(
    chunks: list[list[int]], min_count: int, limit: int, held: int
) -> None:
    def read() -> Iterator[NDArray[np.uint64]]:
        return (np.array(chunk, np.uint64) for chunk in chunks)

    counts = Counter(key for chunk in chunks for key in chunk if key)
    often = sorted((-count, key) for key, count in counts.items() if count >= min_count)
    assert frequent_keys(read, min_count, limit, held).tolist() == [key for _, key in often[:limit]]


@settings(max_examples=100, deadline=None)
@given(
    known=st.lists(st.integers(1, 60), unique=True, max_size=20),
    asked=st.lists(st.integers(0, 60), max_size=30),
)
def test_known_keys_have_rows_in_order_and_others_row_0(known: list[int], asked: list[int]) -> None:
    rows = Vocabulary(np.array(known, np.uint64)).rows(np.array(asked, np.uint64))
    assert rows.dtype == np.int32
    assert rows.tolist() == [known.index(key) + 1 if key in known else 0 for key in asked]
