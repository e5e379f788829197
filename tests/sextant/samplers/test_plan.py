"""A plan's batches stay what they are, however they are chosen, ordered and divided."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sextant.samplers.plan import Plan


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    sizes = np.array(draw(st.lists(st.integers(1, 6), min_size=1, max_size=12)), np.int64)
    order = np.array(draw(st.permutations(range(int(sizes.sum())))), np.int64)
    sequence = np.array(draw(st.permutations(range(len(sizes)))), np.int64)
    return Plan(order, (np.cumsum(sizes) - sizes)[sequence], sizes[sequence])


def batches(plan: Plan) -> list[list[int]]:
    return [plan[place] for place in range(len(plan))]


@given(plans(), st.data())
def test_selection_has_the_batches_that_are_named_in_their_order(plan: Plan, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(plan) - 1), unique=True))
    assert batches(plan.select(np.array(chosen, np.int64))) == [plan[place] for place in chosen]
    assert batches(plan.select(slice(1, None))) == batches(plan)[1:]


@given(plans(), st.data())
def test_largest_batches_are_kept_in_the_order_they_have(plan: Plan, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(plan)))
    kept = batches(plan.largest(count))
    assert [batch for batch in batches(plan) if batch in kept] == kept
    assert sorted(map(len, kept)) == sorted(map(len, batches(plan)))[-count:]


@given(plans(), st.data())
def test_divided_batches_are_parts_of_batches_and_lose_no_example(plan: Plan, data: st.DataObject) -> None:
    wanted = data.draw(st.integers(len(plan), len(plan.order)))
    divided = batches(plan.divided(wanted))
    assert len(divided) == wanted
    assert sorted(i for batch in divided for i in batch) == list(range(len(plan.order)))
    assert all(any(set(part) <= set(batch) for batch in batches(plan)) for part in divided)


@given(plans(), st.data())
def test_highest_value_of_each_batch_is_found_also_where_batches_were_left_out(plan: Plan, data: st.DataObject) -> None:
    values = np.random.default_rng(0).uniform(size=(len(plan.order), 2))
    chosen = data.draw(st.lists(st.integers(0, len(plan) - 1), unique=True, min_size=1))
    some = plan.select(np.array(chosen, np.int64))
    assert np.array_equal(some.highest(values), [values[batch].max(0) for batch in batches(some)])


def test_number_of_batches_is_its_length() -> None:
    starts = np.array([0, 2, 5])
    plan = Plan(np.arange(6), starts, np.diff(starts, append=6))
    assert len(plan) == 3
    assert batches(plan) == [list(range(a, b)) for a, b in pairwise([0, 2, 5, 6])]
