"""A stream is read, and its batches collated, no further ahead than they are needed."""

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from sextant.samplers.stream import DynamicBatchStream
from tests.sextant.samplers.stream.word_stream import (
    Batch,
    Word,
    arguments,
    batches_of_ranks,
    collate,
    length,
    stream,
    words,
)


class Counted:
    """A stream's examples, and how many of them were read.

    Args:
        lengths: of the examples.
    """

    def __init__(self, lengths: list[float]) -> None:
        self.lengths = lengths
        self.read = 0

    def __call__(self, epoch: int) -> Iterator[Word]:
        for word in words(self.lengths, epoch):
            self.read += 1
            yield word


@given(arguments(), st.integers(1, 3))
def test_no_more_examples_are_read_ahead_than_the_buffer_and_a_few_steps_hold(
    chosen: dict[str, Any], world_size: int
) -> None:
    steps = list(zip(*batches_of_ranks(world_size, **chosen), strict=True))
    counted = Counted(chosen["lengths"])
    options = {key: value for key, value in chosen.items() if key != "lengths"}
    given_out = 0
    for _, step in zip(
        DynamicBatchStream(counted, length, collate, world_size=world_size, **options), steps, strict=True
    ):
        ahead = counted.read - given_out
        # Those of one process are given out at once. Several wait until the steps after this one can be divided.
        largest = max(len(batch) for batch in itertools.chain(*steps))
        assert ahead <= chosen["buffer"] + (world_size - 1) * (world_size + 1) * largest * world_size
        given_out += sum(map(len, step))


def test_steps_of_single_examples_are_not_held_back() -> None:
    """They cannot be divided at the end, so to hold them would be to gather the whole stream."""
    counted = Counted([1.0] * 1000)
    next(iter(DynamicBatchStream(counted, length, collate, 9, buffer=5, max_batch_ex=1, world_size=2)))
    assert counted.read < 10


class Collated:
    """Collates by counting: how many batches this process has collated, and the examples of this one."""

    count = 0

    def __call__(self, batch: list[Word]) -> tuple[int, Batch]:
        self.count += 1
        return self.count, collate(batch)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_only_the_batches_that_are_given_are_collated(num_workers: int) -> None:
    lengths = np.random.default_rng(0).uniform(1, 9, 100).tolist()
    counting = DynamicBatchStream(
        partial(words, lengths), length, Collated(), 40, buffer=30, rank=1, world_size=2, done=[(3, 2)]
    )
    counts = [count for count, _ in DataLoader(counting, batch_size=None, collate_fn=list, num_workers=num_workers)]
    workers = max(1, num_workers)
    assert counts == [1 + i // workers for i in range(len(counts))]


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_loader_gives_the_same_batches_with_any_number_of_workers(num_workers: int) -> None:
    lengths = np.random.default_rng(0).uniform(1, 9, 100).tolist()
    options: dict[str, Any] = {"buffer": 30, "rank": 1, "world_size": 2}
    loaded = stream(lengths, 40, done=[(2, 2)], **options)
    loader = DataLoader(
        loaded, batch_size=None, collate_fn=list, num_workers=num_workers, persistent_workers=num_workers > 0
    )
    assert list(loader) == list(stream(lengths, 40, **options))[2:]
    for epoch in (1, 2):  # in the same worker processes
        loaded.set_epoch(epoch)
        assert list(loader) == list(stream(lengths, 40, epoch=epoch, **options))
