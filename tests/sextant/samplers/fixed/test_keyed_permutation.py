"""Every number comes once, anywhere, and its place can be computed."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sextant.samplers.fixed.keyed_permutation import KeyedPermutation, mix

SIZES = st.integers(1, 700)
KEYS = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3)


@settings(max_examples=100, deadline=None)
@given(size=SIZES, key=KEYS)
def test_every_number_comes_exactly_once(size: int, key: list[int]) -> None:
    assert sorted(KeyedPermutation(size, key)[np.arange(size)]) == list(range(size))


@settings(max_examples=100, deadline=None)
@given(size=st.integers(1, 2**40), key=KEYS, data=st.data())
def test_places_are_where_the_numbers_stand(size: int, key: list[int], data: st.DataObject) -> None:
    permutation = KeyedPermutation(size, key)
    places = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=20))
    numbers = permutation[places]
    assert ((numbers >= 0) & (numbers < size)).all()
    assert permutation.places(numbers).tolist() == places


@settings(max_examples=50, deadline=None)
@given(size=SIZES, key=KEYS)
def test_a_number_does_not_depend_on_what_else_is_asked_for(size: int, key: list[int]) -> None:
    whole = KeyedPermutation(size, key)[np.arange(size)]
    assert [int(KeyedPermutation(size, key)[place]) for place in range(min(size, 10))] == whole[:10].tolist()
    assert (KeyedPermutation(size, key)[np.arange(size)[None]] == whole[None]).all()


def test_numbers_come_at_every_place_as_often() -> None:
    for size in (6, 7, 33):
        counts = np.zeros((size, size), int)
        for seed in range(100 * size):
            counts[np.arange(size), KeyedPermutation(size, [seed, 0])[np.arange(size)]] += 1
        # Chi-squared, with (size - 1) ** 2 degrees of freedom: the mean and six deviations.
        freedom = (size - 1) ** 2
        assert ((counts - 100) ** 2 / 100).sum() < freedom + 6 * (2 * freedom) ** 0.5


def test_neighbors_do_not_stay_together() -> None:
    order = KeyedPermutation(10_000, [1])[np.arange(10_000)]
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.05
    assert abs(np.corrcoef(order, np.arange(10_000))[0, 1]) < 0.05
    assert (abs(np.diff(order)) == 1).sum() < 20  # two are expected


def test_order_stays_what_it_was_in_runs_that_are_to_be_resumed() -> None:
    assert KeyedPermutation(12, [3, 2])[np.arange(12)].tolist() == [5, 7, 0, 10, 3, 6, 2, 1, 8, 11, 9, 4]


def test_mixing_is_one_to_one_and_changes_half_of_the_bits() -> None:
    numbers = np.arange(2**16, dtype=np.uint64)
    mixed = mix(numbers)
    assert len(np.unique(mixed)) == len(numbers)
    for bit in range(64):
        changed = mixed ^ mix(numbers ^ (np.uint64(1) << np.uint64(bit)))
        fraction = np.unpackbits(changed.view(np.uint8)).mean()
        assert 0.48 < fraction < 0.52, bit
