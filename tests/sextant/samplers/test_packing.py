"""Greedy packing holds as many as the budget allows, and halving keeps every example."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.samplers.packing import halve_largest, pack

COSTS = st.lists(st.tuples(st.floats(0.5, 40), st.floats(0.5, 40)), min_size=1, max_size=60)
BUDGETS = st.tuples(st.floats(1, 200), st.floats(1, 200))


@given(COSTS, BUDGETS, st.none() | st.integers(1, 9))
def test_batch_is_within_every_budget_and_one_more_example_would_not_be(
    costs: list[tuple[float, float]], budgets: tuple[float, float], most: int | None
) -> None:
    array, limits = np.array(costs), np.array(budgets)
    starts = pack(array, limits, most)
    assert starts[0] == 0
    assert (np.diff(starts) > 0).all()
    for start, end in zip(starts, [*starts[1:], len(costs)], strict=True):
        if end - start > 1:
            assert ((end - start) * array[start:end].max(0) <= limits).all()
        if end < len(costs):
            one_more = (end + 1 - start) * array[start : end + 1].max(0)
            assert (one_more > limits).any() or end - start == most


def test_example_beyond_the_budget_is_a_batch_of_its_own() -> None:
    assert pack(np.array([[1.0], [11.0], [2.0]]), np.array([10.0])).tolist() == [0, 1, 2]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=20), st.data())
def test_halving_makes_as_many_batches_as_are_wanted(sizes: list[int], data: st.DataObject) -> None:
    array = np.array(sizes, np.int64)
    starts = np.cumsum(array) - array
    wanted = data.draw(st.integers(len(sizes), sum(sizes)))
    new_starts, new_sizes = halve_largest(starts, array, wanted)
    assert len(new_starts) == len(new_sizes) == wanted
    ranges = [range(a, a + n) for a, n in zip(new_starts.tolist(), new_sizes.tolist(), strict=True)]
    assert sorted(i for batch in ranges for i in batch) == list(range(sum(sizes)))
    assert array.tolist() == sizes  # what was given is left as it was


@pytest.mark.parametrize(("sizes", "wanted", "halved"), [([4, 2], 3, [2, 2, 2]), ([5, 1], 3, [1, 2, 3])])
def test_largest_batches_are_halved_first(sizes: list[int], wanted: int, halved: list[int]) -> None:
    array = np.array(sizes, np.int64)
    assert sorted(halve_largest(np.cumsum(array) - array, array, wanted)[1].tolist()) == halved
