"""Batches of similar lengths are the same for any number of ranks, and waste as little as was asked for."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.errors import InputError
from sextant.samplers.fixed.similar_lengths import SimilarLengthBatches
from tests.sextant.samplers.fixed.laws import assert_ranks_share_the_batches_of_one

LENGTHS = st.lists(st.integers(1, 40), min_size=8, max_size=80)


@given(LENGTHS, st.integers(8, 20), st.booleans(), st.integers(1, 4), st.data())
def test_batches_of_all_ranks_together_are_those_of_one_process_from_any_position_on(
    lengths: list[int], batch_size: int, shuffle: bool, world_size: int, data: st.DataObject
) -> None:
    def batches(rank: int | None = None) -> list[list[int]]:
        position: Any = {"seed": 3, "epoch": 2}
        if rank is not None:
            position |= {"rank": rank, "world_size": world_size, "done": [(start, 5)]}
        return [*SimilarLengthBatches(lengths, batch_size, padding=0.1, shuffle=shuffle, **position)]

    whole = batches()
    assert sorted(index for batch in whole for index in batch) == list(range(len(lengths)))
    assert max(map(len, whole)) - min(map(len, whole)) <= 1
    start = data.draw(st.integers(0, len(whole)))
    assert_ranks_share_the_batches_of_one(batches, world_size, start)


@pytest.mark.parametrize("padding", [0.05, 0.15])
def test_padding_is_what_was_asked_for(padding: float) -> None:
    lengths = np.random.default_rng(0).integers(3, 30, 5000)
    sampler = SimilarLengthBatches(lengths, 32, padding=padding, shuffle=True)
    cells = sum(lengths[batch].max() * len(batch) for batch in sampler)
    assert 1 - lengths.sum() / cells == pytest.approx(padding, rel=0.15)


def test_epochs_and_seeds_have_other_batches_in_random_order() -> None:
    lengths = np.random.default_rng(0).integers(3, 30, 500)
    orders = [
        [*SimilarLengthBatches(lengths, 32, padding=0.1, shuffle=True, seed=seed, epoch=epoch)]
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    ]
    sets = [{frozenset(batch) for batch in order} for order in orders]
    assert not sets[0] & sets[1] | sets[0] & sets[2]
    means = [lengths[batch].mean() for batch in orders[0]]
    assert means not in (sorted(means), sorted(means, reverse=True))


def test_without_shuffling_samples_are_sorted_by_length_in_every_epoch() -> None:
    lengths = np.array([5, 3, 9, 3, 1])
    sampler = SimilarLengthBatches(lengths, 2, padding=0.0, shuffle=False)
    assert [*sampler] == [[4, 1], [3, 0], [2]]
    sampler.set_epoch(1)
    assert [*sampler] == [[4, 1], [3, 0], [2]]


@pytest.mark.parametrize(
    ("lengths", "padding", "message"),
    [([1, 2], 1.0, r"padding is 1\.0"), ([1, 0], 0.1, "example 1: 0"), ([], 0.1, "Lengths of shape")],
)
def test_lengths_and_padding_that_make_no_sense_are_refused(lengths: list[int], padding: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SimilarLengthBatches(lengths, 1, padding=padding, shuffle=True)
