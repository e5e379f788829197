"""The position of an epoch of batches is kept within the epoch, and left behind with it."""

from hypothesis import given
from hypothesis import strategies as st

from sextant.samplers.fixed.position import EpochOfBatches


@given(st.integers(0, 50), st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4)), max_size=4), st.integers(0, 5))
def test_steps_of_all_restarts_are_done_whatever_the_number_of_ranks(
    more: int, done: list[tuple[int, int]], epoch: int
) -> None:
    steps = sum(count for count, _ in done)
    epochs: EpochOfBatches[int] = EpochOfBatches(steps + more, epoch=epoch, done=done)
    assert epochs.remaining == more
    assert len(epochs) == steps + more


def test_only_another_epoch_begins_at_its_start() -> None:
    epochs: EpochOfBatches[int] = EpochOfBatches(10, epoch=3, done=[(4, 2)])
    epochs.set_epoch(3)
    assert epochs.remaining == 6
    epochs.set_epoch(4)
    assert (epochs.epoch, epochs.remaining) == (4, 10)
    epochs.set_epoch(3)
    assert epochs.remaining == 10
