"""The windows of an epoch lie side by side in the stream, and depend on the seed and the epoch alone."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sextant.errors import InputError
from sextant.samplers.fixed.windows import RandomOffsetWindows, windows
from tests.sextant.samplers.fixed.laws import assert_ranks_share_the_batches_of_one


class Setting(NamedTuple):
    """What the windows depend on; ``world_size`` is small enough for every batch."""

    tokens: int
    length: int
    batch_size: int
    world_size: int
    shuffle: bool
    seed: int
    epoch: int

    def sampler(self, rank: int | None = None, start: int = 0) -> RandomOffsetWindows:
        """The windows of one rank, or of one process for all."""
        return RandomOffsetWindows(
            self.tokens,
            self.batch_size,
            length=self.length,
            shuffle=self.shuffle,
            seed=self.seed,
            rank=rank or 0,
            world_size=1 if rank is None else self.world_size,
            epoch=self.epoch,
            done=[(start, 1)],
        )

    def positions(self) -> list[int]:
        return [position for batch in self.sampler() for position in batch]


@st.composite
def settings_that_are_accepted(draw: st.DrawFn) -> Setting:
    length = draw(st.integers(1, 40))
    tokens = draw(st.integers(2 * length, 40 * length + 39))
    batch_size = draw(st.integers(1, 30))
    count = windows(tokens, length)
    smallest = count // -(-count // batch_size)
    return Setting(
        tokens,
        length,
        batch_size,
        world_size=draw(st.integers(1, min(smallest, 8))),
        shuffle=draw(st.booleans()),
        seed=draw(st.integers(0, 2**32 - 1)),
        epoch=draw(st.integers(0, 1000)),
    )


def given_a_setting(test: Callable[..., None]) -> Callable[..., None]:
    return settings(max_examples=100, deadline=None)(given(s=settings_that_are_accepted())(test))


@given_a_setting
def test_windows_lie_side_by_side_inside_the_stream(s: Setting) -> None:
    positions = sorted(s.positions())
    assert positions[0] in range(s.length)
    assert np.diff(positions).tolist() == [s.length] * (len(positions) - 1)
    assert positions[-1] + s.length < s.tokens, "the word after the last window is outside of the stream"


@given_a_setting
def test_every_epoch_has_the_same_number_of_windows_and_batches(s: Setting) -> None:
    sampler = s.sampler()
    for epoch in range(s.epoch, s.epoch + 5):
        sampler.set_epoch(epoch)
        batches = list(sampler)
        assert sum(map(len, batches)) == windows(s.tokens, s.length)
        assert len(batches) == len(sampler) == -(-windows(s.tokens, s.length) // s.batch_size)


@settings(max_examples=200, deadline=None)
@given(tokens=st.integers(0, 200), length=st.integers(1, 30))
@example(tokens=20, length=10)
@example(tokens=19, length=10)
def test_there_are_as_many_windows_as_fit_at_every_offset(tokens: int, length: int) -> None:
    largest_offset = length - 1
    count = windows(tokens, length)
    if count:
        assert largest_offset + count * length + 1 <= tokens
    assert largest_offset + (count + 1) * length + 1 > tokens
    assert tokens - count * length < 2 * length


@given_a_setting
def test_offset_and_order_depend_on_seed_and_epoch_alone(s: Setting) -> None:
    in_order = s._replace(shuffle=False).positions()
    others = [
        s._replace(batch_size=1, world_size=1),
        s._replace(batch_size=1000, world_size=1),
        s._replace(tokens=s.tokens + 7 * s.length, world_size=1),
        s._replace(shuffle=not s.shuffle),
    ]
    for other in others:
        assert min(other.positions()) == in_order[0]
    for other in others[:2]:
        assert other.positions() == s.positions()
    assert sorted(s.positions()) == in_order


@given_a_setting
def test_windows_of_all_ranks_together_are_those_of_one_process(s: Setting) -> None:
    assert_ranks_share_the_batches_of_one(s.sampler, s.world_size)


@settings(max_examples=100, deadline=None)
@given(s=settings_that_are_accepted(), data=st.data())
def test_started_in_the_middle_it_gives_exactly_the_rest_of_the_epoch(s: Setting, data: st.DataObject) -> None:
    rank = data.draw(st.integers(0, s.world_size - 1))
    whole = list(s.sampler(rank))
    start = data.draw(st.integers(0, len(whole)))
    sampler = s.sampler(rank, start)
    sampler.set_epoch(s.epoch)
    assert list(sampler) == list(sampler) == whole[start:]
    assert len(sampler) == len(whole), "the length is that of a whole epoch"
    sampler.set_epoch(s.epoch + 1)
    assert list(sampler) == list(s._replace(epoch=s.epoch + 1).sampler(rank))


@given_a_setting
def test_positions_are_python_integers(s: Setting) -> None:
    assert all(type(position) is int for position in s.positions())


def offsets(seeds: range, epochs: range, length: int, **options: Any) -> list[int]:
    return [
        min(p for batch in RandomOffsetWindows(200, 4, length=length, seed=s, epoch=e, **options) for p in batch)
        for s in seeds
        for e in epochs
    ]


@pytest.mark.parametrize("shuffle", [False, True])
def test_offset_changes_with_the_epoch_and_with_the_seed(shuffle: bool) -> None:
    by_epoch = offsets(range(3, 4), range(40), 32, shuffle=shuffle)
    by_seed = offsets(range(40), range(3, 4), 32, shuffle=shuffle)
    assert len(set(by_epoch)) > 15  # 23 of 32 are expected
    assert len(set(by_seed)) > 15
    assert by_epoch != by_seed


def test_every_offset_below_the_length_comes_as_often() -> None:
    counts = np.bincount(offsets(range(30), range(20), 6, shuffle=False), minlength=6)
    assert len(counts) == 6
    assert counts.min() > 60  # 100 are expected, with a deviation of 9
    assert counts.max() < 140


def test_offset_does_not_go_with_the_order() -> None:
    """In the epochs of one offset, each window may come first."""
    first = set()
    for epoch in range(300):
        batches = list(RandomOffsetWindows(100, 1, length=20, shuffle=True, epoch=epoch))
        if min(batches) == [7]:
            first.add(batches[0][0])
    assert first == {7, 27, 47, 67}


def test_windows_stay_what_they_were_in_runs_that_are_to_be_resumed() -> None:
    sampler = RandomOffsetWindows(100, 4, length=10, shuffle=True, seed=3, epoch=2)
    order = np.random.default_rng([3, 2]).permutation(9)
    offset = np.random.default_rng([3, 2, 1]).integers(10)
    assert [p for batch in sampler for p in batch] == (offset + 10 * order).tolist()
    assert [len(batch) for batch in sampler] == [3, 3, 3]


@pytest.mark.parametrize("tokens", [0, 1, 9, 10, 11, 19])
def test_stream_without_room_for_a_window_at_every_offset_is_an_input_error(tokens: int) -> None:
    with pytest.raises(InputError, match="no samples"):
        RandomOffsetWindows(tokens, 4, length=10, shuffle=True)


def test_stream_with_just_enough_room_has_one_window_in_every_epoch() -> None:
    for epoch in range(30):
        ((position,),) = RandomOffsetWindows(20, 4, length=10, shuffle=True, epoch=epoch)
        assert position in range(10)


def test_more_ranks_than_windows_in_a_batch_are_an_input_error() -> None:
    with pytest.raises(InputError, match="5 processes"):
        RandomOffsetWindows(50, 4, length=10, shuffle=True, world_size=5)
