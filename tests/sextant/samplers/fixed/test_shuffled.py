"""Batches are the same for any number of processes, and every sample comes once an epoch."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from sextant.errors import InputError
from sextant.samplers.fixed.shuffled import ShuffledBatches
from tests.sextant.samplers.fixed.laws import assert_ranks_share_the_batches_of_one


class Setting(NamedTuple):
    """What the batches depend on; ``world_size`` is small enough for every batch."""

    size: int
    batch_size: int
    world_size: int
    shuffle: bool
    seed: int
    epoch: int

    def sampler(self, rank: int | None = None, start: int = 0) -> ShuffledBatches:
        """The batches of one rank, or of one process for all."""
        return ShuffledBatches(
            self.size,
            self.batch_size,
            shuffle=self.shuffle,
            seed=self.seed,
            rank=rank or 0,
            world_size=1 if rank is None else self.world_size,
            epoch=self.epoch,
            done=[(start, 1)],
        )


@st.composite
def settings_that_are_accepted(draw: st.DrawFn) -> Setting:
    size = draw(st.integers(1, 300))
    batch_size = draw(st.integers(1, 100))
    smallest = size // -(-size // batch_size)
    return Setting(
        size,
        batch_size,
        world_size=draw(st.integers(1, min(smallest, 8))),
        shuffle=draw(st.booleans()),
        seed=draw(st.integers(0, 2**32 - 1)),
        epoch=draw(st.integers(0, 1000)),
    )


def given_a_setting(test: Callable[..., None]) -> Callable[..., None]:
    return settings(max_examples=100, deadline=None)(given(s=settings_that_are_accepted())(test))


@given_a_setting
def test_batches_of_all_ranks_together_are_those_of_one_process(s: Setting) -> None:
    assert_ranks_share_the_batches_of_one(s.sampler, s.world_size)


@given_a_setting
def test_parts_of_the_ranks_differ_by_one_sample_at_most(s: Setting) -> None:
    for parts in zip(*(s.sampler(rank) for rank in range(s.world_size)), strict=True):
        sizes = [len(part) for part in parts]
        assert max(sizes) - min(sizes) <= 1


@given_a_setting
def test_every_sample_comes_exactly_once_an_epoch(s: Setting) -> None:
    assert sorted(i for batch in s.sampler() for i in batch) == list(range(s.size))


@given_a_setting
def test_sizes_of_batches_differ_by_one_at_most_and_never_exceed_the_batch_size(s: Setting) -> None:
    sizes = [len(batch) for batch in s.sampler()]
    assert max(sizes) <= s.batch_size
    assert max(sizes) - min(sizes) <= 1


@given_a_setting
def test_there_are_no_more_batches_than_needed_and_len_says_how_many(s: Setting) -> None:
    sampler = s.sampler(rank=s.world_size - 1)
    assert len(list(sampler)) == len(sampler) == -(-s.size // s.batch_size)


@given_a_setting
def test_iterating_twice_gives_the_same_batches(s: Setting) -> None:
    sampler = s.sampler()
    assert list(sampler) == list(sampler) == list(s.sampler())


@settings(max_examples=100, deadline=None)
@given(s=settings_that_are_accepted(), data=st.data())
def test_started_in_the_middle_it_gives_exactly_the_rest_of_the_epoch(s: Setting, data: st.DataObject) -> None:
    rank = data.draw(st.integers(0, s.world_size - 1))
    whole = list(s.sampler(rank))
    start = data.draw(st.integers(0, len(whole)))
    sampler = s.sampler(rank, start)
    assert list(sampler) == whole[start:]
    assert list(sampler) == whole[start:], "the position was consumed"
    assert len(sampler) == len(whole), "the length is that of a whole epoch"


@settings(max_examples=100, deadline=None)
@given(s=settings_that_are_accepted(), data=st.data())
def test_present_epoch_set_again_is_gone_on_with_and_another_begins_at_its_start(
    s: Setting, data: st.DataObject
) -> None:
    whole = list(s.sampler())
    start = data.draw(st.integers(0, len(whole)))
    sampler = s.sampler(start=start)
    sampler.set_epoch(s.epoch)
    assert list(sampler) == whole[start:]
    sampler.set_epoch(s.epoch + 1)
    assert list(sampler) == list(s._replace(epoch=s.epoch + 1).sampler())
    sampler.set_epoch(s.epoch)
    assert list(sampler) == whole


@settings(max_examples=100, deadline=None)
@given(
    size=st.integers(30, 300),
    seed=st.integers(0, 2**32 - 1),
    epochs=st.lists(st.integers(0, 1000), min_size=2, max_size=2, unique=True),
)
def test_epochs_differ_in_their_order(size: int, seed: int, epochs: list[int]) -> None:
    first, second = (ShuffledBatches(size, 8, shuffle=True, seed=seed, epoch=epoch) for epoch in epochs)
    assert list(first) != list(second)


@settings(max_examples=100, deadline=None)
@given(
    size=st.integers(30, 300),
    epoch=st.integers(0, 1000),
    seeds=st.lists(st.integers(0, 2**32 - 1), min_size=2, max_size=2, unique=True),
)
def test_seeds_differ_in_their_order(size: int, epoch: int, seeds: list[int]) -> None:
    first, second = (ShuffledBatches(size, 8, shuffle=True, seed=seed, epoch=epoch) for seed in seeds)
    assert list(first) != list(second)


@given_a_setting
def test_without_shuffling_the_order_is_that_of_the_samples_in_every_epoch(s: Setting) -> None:
    sampler = s._replace(shuffle=False).sampler()
    assert [i for batch in sampler for i in batch] == list(range(s.size))
    sampler.set_epoch(s.epoch + 1)
    assert [i for batch in sampler for i in batch] == list(range(s.size))


@given_a_setting
def test_samples_are_python_integers(s: Setting) -> None:
    assert all(type(i) is int for batch in s.sampler() for i in batch)


def test_every_sample_may_come_at_every_place() -> None:
    counts = np.zeros((6, 6), int)
    for seed in range(600):
        for place, (sample,) in enumerate(ShuffledBatches(6, 1, shuffle=True, seed=seed)):
            counts[place, sample] += 1
    assert counts.min() > 60  # 100 are expected, with a deviation of 9
    assert counts.max() < 140


def test_order_stays_what_it_was_in_runs_that_are_to_be_resumed() -> None:
    sampler = ShuffledBatches(10, 4, shuffle=True, seed=3, epoch=2)
    assert [i for batch in sampler for i in batch] == np.random.default_rng([3, 2]).permutation(10).tolist()
    assert [len(batch) for batch in sampler] == [4, 3, 3]


@pytest.mark.parametrize("batch_size", [0, -1])
def test_batch_size_below_one_is_an_input_error_that_names_the_setting(batch_size: int) -> None:
    with pytest.raises(InputError, match=f"data.batch_size is {batch_size}"):
        ShuffledBatches(10, batch_size, shuffle=True)


def test_no_samples_are_an_input_error() -> None:
    with pytest.raises(InputError, match="no samples"):
        ShuffledBatches(0, 4, shuffle=True)


@pytest.mark.parametrize(
    ("size", "batch_size", "world_size"),
    [(100, 3, 4), (3, 64, 4), (9, 8, 5)],  # small batches; few samples; 9 samples make batches of 5 and 4
)
def test_more_ranks_than_samples_in_a_batch_are_an_input_error_that_names_the_setting(
    size: int, batch_size: int, world_size: int
) -> None:
    for rank in range(world_size):
        with pytest.raises(
            InputError, match=f"(data.batch_size {batch_size}|{size} samples) .* {world_size} processes"
        ):
            ShuffledBatches(size, batch_size, shuffle=True, rank=rank, world_size=world_size)


@settings(max_examples=100, deadline=None)
@given(size=st.integers(1, 60), batch_size=st.integers(1, 30), world_size=st.integers(2, 16))
@example(size=9, batch_size=8, world_size=5)
def test_batch_size_that_a_refusal_advises_is_accepted(size: int, batch_size: int, world_size: int) -> None:
    arguments: dict[str, Any] = {"shuffle": False, "world_size": world_size}
    try:
        ShuffledBatches(size, batch_size, **arguments)
    except InputError as error:
        advised = re.search(r"raise it to (\d+)", str(error))
    else:
        assume(False)
    if advised:
        ShuffledBatches(size, int(advised[1]), **arguments)
        assert int(advised[1]) > batch_size
