"""Every rank gets as many rows as the others in each step, and the batches are those of one process."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sextant.errors import InputError
from sextant.samplers.fixed.even import AHEAD, EvenBatches


class Setting(NamedTuple):
    """What the batches depend on."""

    size: int
    rows_per_rank: int
    world_size: int
    shuffle: bool
    last_batch: Literal["drop", "pad"]
    seed: int
    epoch: int

    def sampler(self, rank: int | None = None, done: tuple[tuple[int, int], ...] = ()) -> EvenBatches:
        """The batches of one rank, or of one process for all."""
        return EvenBatches(
            self.size,
            self.rows_per_rank * self.world_size,
            shuffle=self.shuffle,
            last_batch=self.last_batch,
            seed=self.seed,
            rank=rank or 0,
            world_size=1 if rank is None else self.world_size,
            epoch=self.epoch,
            done=done,
        )

    def batches(self, rank: int | None = None, done: tuple[tuple[int, int], ...] = ()) -> list[list[int]]:
        return [batch.tolist() for batch in self.sampler(rank, done)]


@st.composite
def accepted(draw: st.DrawFn) -> Setting:
    rows_per_rank, world_size = draw(st.integers(1, 12)), draw(st.integers(1, 6))
    last_batch: Literal["drop", "pad"] = draw(st.sampled_from(["drop", "pad"]))
    return Setting(
        size=draw(st.integers(rows_per_rank * world_size if last_batch == "drop" else 1, 300)),
        rows_per_rank=rows_per_rank,
        world_size=world_size,
        shuffle=draw(st.booleans()),
        last_batch=last_batch,
        seed=draw(st.integers(0, 2**32 - 1)),
        epoch=draw(st.integers(0, 1000)),
    )


def given_a_setting(test: Callable[..., None]) -> Callable[..., None]:
    return settings(max_examples=100, deadline=None)(given(s=accepted())(test))


@given_a_setting
def test_all_ranks_have_as_many_rows_in_each_step(s: Setting) -> None:
    parts = [s.batches(rank) for rank in range(s.world_size)]
    sizes = [[len(batch) for batch in part] for part in parts]
    assert all(of_rank == sizes[0] for of_rank in sizes)
    assert all(size == s.rows_per_rank for size in sizes[0][:-1])
    if s.last_batch == "drop":
        assert sizes[0][-1] == s.rows_per_rank


@given_a_setting
def test_ranks_together_have_the_batches_of_one_process_and_pad_the_last_one(s: Setting) -> None:
    parts = [s.batches(rank) for rank in range(s.world_size)]
    for whole, *of_ranks in zip(s.batches(), *parts, strict=True):
        together = [row for rows in zip(*of_ranks, strict=True) for row in rows]
        assert together[: len(whole)] == whole
        last = s.sampler().size - 1 if not s.shuffle else whole[-1]
        assert len(together) - len(whole) < s.world_size
        assert all(~row in whole or ~row == last for row in together[len(whole) :])
        assert all(row < 0 for row in together[len(whole) :])


@given_a_setting
def test_every_row_comes_once_or_is_among_the_few_that_are_left_out(s: Setting) -> None:
    rows = [row for rank in range(s.world_size) for batch in s.batches(rank) for row in batch if row >= 0]
    assert len(set(rows)) == len(rows)
    assert set(rows) <= set(range(s.size))
    left_out = s.size - len(rows)
    assert left_out == (s.size % (s.rows_per_rank * s.world_size) if s.last_batch == "drop" else 0)


@given_a_setting
def test_rows_that_pad_are_rows(s: Setting) -> None:
    for rank in range(s.world_size):
        assert all(0 <= (~row if row < 0 else row) < s.size for batch in s.batches(rank) for row in batch)


@given_a_setting
def test_length_says_how_many_batches_there_are(s: Setting) -> None:
    sampler = s.sampler(s.world_size - 1)
    assert len(list(sampler)) == len(sampler) == sampler.remaining
    batch_size = s.rows_per_rank * s.world_size
    assert len(sampler) == (s.size // batch_size if s.last_batch == "drop" else -(-s.size // batch_size))


@settings(max_examples=100, deadline=None)
@given(s=accepted(), data=st.data())
def test_epoch_that_other_numbers_of_ranks_began_is_gone_on_with(s: Setting, data: st.DataObject) -> None:
    whole = s.batches(0)
    first = data.draw(st.integers(0, len(whole)))
    second = data.draw(st.integers(0, len(whole) - first))
    sampler = s.sampler(0, done=((first, 1), (second, 5)))
    for _ in range(2):  # a position is read, never consumed
        assert [batch.tolist() for batch in sampler] == whole[first + second :]
    assert sampler.remaining == len(whole) - first - second
    assert len(sampler) == len(whole)
    sampler.set_epoch(s.epoch)
    assert sampler.remaining == len(whole) - first - second
    sampler.set_epoch(s.epoch + 1)
    assert [batch.tolist() for batch in sampler] == s._replace(epoch=s.epoch + 1).batches(0)


def test_rows_that_are_left_out_differ_from_epoch_to_epoch() -> None:
    left_out = set()
    for epoch in range(20):
        sampler = EvenBatches(10, 4, shuffle=True, last_batch="drop", epoch=epoch)
        left_out |= set(range(10)) - {row for batch in sampler for row in batch.tolist()}
    assert left_out == set(range(10))


def test_epochs_and_seeds_differ_in_their_order_and_plain_order_is_the_same() -> None:
    orders = {
        str(EvenBatches(50, 5, shuffle=True, last_batch="drop", seed=seed, epoch=epoch).__iter__().__next__().tolist())
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9
    plain = EvenBatches(7, 3, shuffle=False, last_batch="pad", seed=4, epoch=9)
    assert [batch.tolist() for batch in plain] == [[0, 1, 2], [3, 4, 5], [6]]


def test_order_of_more_rows_than_are_computed_at_a_time_has_no_seam() -> None:
    size = 2 * AHEAD + 11
    batches = list(EvenBatches(size, 1000, shuffle=True, last_batch="pad", seed=1))
    assert np.array_equal(np.sort(np.concatenate(batches)), np.arange(size))
    assert [len(batch) for batch in batches] == [1000] * (size // 1000) + [size % 1000]


@pytest.mark.parametrize("batch_size", [0, -1])
def test_batch_size_below_one_is_an_input_error(batch_size: int) -> None:
    with pytest.raises(InputError, match=f"data.batch_size is {batch_size}"):
        EvenBatches(10, batch_size, shuffle=True, last_batch="drop")


def test_batch_that_cannot_be_split_evenly_over_the_ranks_is_an_input_error_with_advice() -> None:
    with pytest.raises(InputError, match=r"data.eval_batch_size is 10, .* over 4 processes.* multiple of 4, such as 8"):
        EvenBatches(100, 10, shuffle=False, last_batch="pad", world_size=4, setting="data.eval_batch_size")
    with pytest.raises(InputError, match="such as 4"):
        EvenBatches(100, 3, shuffle=False, last_batch="pad", world_size=4)


def test_fewer_rows_than_a_batch_are_an_input_error_in_training_alone() -> None:
    with pytest.raises(InputError, match=r"7 training rows do not fill one batch of 8. Lower data.batch_size"):
        EvenBatches(7, 8, shuffle=True, last_batch="drop")
    assert [batch.tolist() for batch in EvenBatches(2, 8, shuffle=False, last_batch="pad")] == [[0, 1]]
    with pytest.raises(InputError, match="no rows"):
        EvenBatches(0, 8, shuffle=False, last_batch="pad")
