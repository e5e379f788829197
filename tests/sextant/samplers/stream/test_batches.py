"""What dynamic batches of a stream promise, for any lengths and arguments."""

import itertools
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sextant.samplers.stream import DynamicBatchStream
from tests.sextant.samplers.stream.word_stream import (
    Word,
    arguments,
    batches_of_ranks,
    collate,
    examples,
    in_steps,
    length,
    stream,
    words,
)


@given(arguments(), st.integers(1, 4))
def test_every_example_comes_exactly_once_an_epoch_in_as_many_steps_on_each_rank(
    chosen: dict[str, Any], world_size: int
) -> None:
    ranks = batches_of_ranks(world_size, **chosen)
    assert examples(ranks) == list(range(len(chosen["lengths"])))
    assert len({len(batches) for batches in ranks}) == 1


@given(arguments(), st.integers(1, 4))
def test_budget_and_number_of_examples_are_never_exceeded(chosen: dict[str, Any], world_size: int) -> None:
    lengths = np.array(chosen["lengths"])
    for batch in in_steps(batches_of_ranks(world_size, **chosen)):
        assert 1 <= len(batch) <= (chosen["max_batch_ex"] or np.inf)
        assert len(batch) * lengths[batch].max() <= chosen["max_batch_length"]


@given(arguments(), st.integers(1, 3))
def test_batches_are_a_function_of_the_stream_the_seed_and_the_epoch(chosen: dict[str, Any], world_size: int) -> None:
    first = batches_of_ranks(world_size, **chosen)
    assert batches_of_ranks(world_size, **chosen) == first
    again = stream(**chosen | {"epoch": 9}, world_size=world_size)
    again.set_epoch(chosen["epoch"])
    assert list(again) == list(again) == first[0]


def test_other_epochs_and_other_seeds_give_other_batches() -> None:
    lengths = np.random.default_rng(0).uniform(1, 20, 600).tolist()
    made = [
        {frozenset(batch) for batch in stream(lengths, 100, buffer=200, seed=seed, epoch=epoch)}
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    ]
    for a, b in itertools.combinations(made, 2):
        assert len(a & b) < 0.2 * len(a)


def test_windows_are_drawn_anew_in_each_epoch_even_of_the_same_stream() -> None:
    lengths = np.random.default_rng(0).uniform(1, 20, 600).tolist()
    made = []
    for epoch in (0, 1):
        same = DynamicBatchStream(lambda _: words(lengths, 0), length, collate, 100, buffer=200, epoch=epoch)
        made.append({frozenset(batch) for batch in same})
    assert len(made[0] & made[1]) < 0.5 * len(made[0])


@given(arguments())
def test_batch_is_a_window_of_the_sorted_buffer_around_its_oldest_example(chosen: dict[str, Any]) -> None:
    """A replay: what is in the buffer before each batch follows from the stream and the batches before."""
    arrivals = list(words(chosen["lengths"], chosen["epoch"]))
    place = {word.index: number for number, word in enumerate(arrivals)}
    buffer: list[Word] = []
    arrived = 0
    for batch in stream(**chosen):
        missing = chosen["buffer"] - len(buffer)
        buffer += arrivals[arrived : arrived + missing]
        arrived += missing
        assert buffer[0].index in batch
        by_length = [word.index for word in sorted(buffer, key=lambda word: (word.length, place[word.index]))]
        first = by_length.index(batch[0])
        assert by_length[first : first + len(batch)] == batch
        buffer = [word for word in buffer if word.index not in batch]
    assert not buffer


def test_window_holds_as_many_as_fit_in() -> None:
    lengths = np.random.default_rng(0).uniform(1, 20, 2000).tolist()
    batches = list(stream(lengths, 100, buffer=500))
    filled = [len(batch) for batch in batches if len(batch) == 100 // max(lengths[i] for i in batch)]
    assert len(filled) > 0.95 * len(batches)


def test_larger_buffers_pad_less() -> None:
    lengths = np.random.default_rng(0).uniform(2, 30, 4000)
    padding = []
    for buffer in (50, 400, 3000):
        batches = list(stream(lengths.tolist(), 600, buffer=buffer))
        cells = sum(len(batch) * lengths[batch].max() for batch in batches)
        padding.append(1 - lengths.sum() / cells)
    assert padding[0] > 2 * padding[1] > 4 * padding[2] > 0


def test_quadratic_cost_makes_batches_of_long_examples_smaller() -> None:
    lengths = [5.0, 20.0] * 400
    sizes = {}
    for quadratic in (None, 10.0):
        batches = list(stream(lengths, 400, quadratic=quadratic))
        sizes[quadratic] = [max(len(b) for b in batches if max(lengths[i] for i in b) == size) for size in (5, 20)]
    assert sizes == {None: [80, 20], 10.0: [53, 6]}  # 400 / (5 + 2.5), 400 / (20 + 40)
