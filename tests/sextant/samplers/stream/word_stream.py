"""Streams of examples with known lengths, and the batches that are made of them."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from sextant.errors import InputError
from sextant.samplers.stream import DynamicBatchStream

Batch = list[int]
LENGTHS = st.lists(st.floats(0.5, 40), min_size=1, max_size=120)


@dataclass(frozen=True)
class Word:
    """An example of a stream."""

    index: int
    length: float

    def __str__(self) -> str:
        return f"word {self.index}"


def words(lengths: list[float], epoch: int) -> Iterator[Word]:
    """Examples in an order of their own for each epoch."""
    for index in np.random.default_rng(epoch).permutation(len(lengths)).tolist():
        yield Word(index, lengths[index])


def length(word: Word) -> float:
    return word.length


def collate(batch: list[Word]) -> Batch:
    return [word.index for word in batch]


def stream(lengths: list[float], max_batch_length: float, **options: Any) -> DynamicBatchStream[Word]:
    return DynamicBatchStream(partial(words, lengths), length, collate, max_batch_length, **options)


@st.composite
def arguments(draw: st.DrawFn) -> dict[str, Any]:
    """Lengths and arguments that go together."""
    return {
        "lengths": draw(LENGTHS),
        "max_batch_length": draw(st.floats(40, 400)),
        "max_batch_ex": draw(st.none() | st.integers(1, 9)),
        "buffer": draw(st.integers(1, 50)),
        "seed": draw(st.integers(0, 5)),
        "epoch": draw(st.integers(0, 5)),
    }


def batches_of_ranks(world_size: int, **chosen: Any) -> list[list[Batch]]:
    """The batches of each rank; the case is passed over where the examples are too few for them."""
    try:
        return [list(stream(**chosen, rank=rank, world_size=world_size)) for rank in range(world_size)]
    except InputError as error:
        assume("too few to make" not in str(error))
        raise


def examples(ranks: list[list[Batch]]) -> list[int]:
    return sorted(index for batches in ranks for batch in batches for index in batch)


def in_steps(ranks: list[list[Batch]]) -> list[Batch]:
    """The batches of all ranks in the order of the steps."""
    return list(itertools.chain.from_iterable(zip(*ranks, strict=True)))
