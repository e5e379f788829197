"""A loop of one's own resumes exactly from what the sampler or the stream says of its position."""

import itertools
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from sextant.errors import InputError
from sextant.samplers.dynamic import DynamicBatchSampler
from sextant.samplers.stream import DynamicBatchStream

LENGTHS = np.random.default_rng(0).uniform(1, 20, 150).tolist()
Batches = DynamicBatchSampler | DynamicBatchStream[int]
KINDS = ["sampler", "stream"]


def examples(epoch: int) -> Iterator[int]:
    yield from np.random.default_rng(epoch).permutation(len(LENGTHS)).tolist()


def length(index: int) -> float:
    return LENGTHS[index]


def make(kind: str, max_batch_length: float = 100, **options: Any) -> Batches:
    if kind == "sampler":
        return DynamicBatchSampler(LENGTHS, max_batch_length, **options)
    return DynamicBatchStream(examples, length, list, max_batch_length, buffer=40, **options)


def saved(state: dict[str, Any]) -> dict[str, Any]:
    """A state as a checkpoint gives it back that is read without running code."""
    file = BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def epochs(batches: Batches, count: int) -> Iterator[tuple[int, list[int]]]:
    for epoch in range(batches.epoch, count):
        batches.set_epoch(epoch)
        yield from ((epoch, batch) for batch in batches)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20)
@given(st.integers(0, 2), st.lists(st.floats(0, 1), min_size=1, max_size=3), st.integers(1, 3))
def test_loop_that_is_stopped_anywhere_and_often_sees_the_batches_of_one_that_is_not(
    kind: str, epoch: int, stops: Sequence[float], world_size: int
) -> None:
    whole = list(epochs(make(kind, world_size=world_size), 3))
    in_epoch = [batch for of, batch in whole if of == epoch]
    batches = make(kind, world_size=world_size)
    batches.set_epoch(epoch)
    seen: list[list[int]] = []
    for fraction in stops:
        steps = int(fraction * (len(in_epoch) - len(seen)))
        seen += itertools.islice(batches, steps)
        state = saved(batches.state_dict(steps))
        batches = make(kind, world_size=world_size, epoch=9)
        batches.load_state_dict(state)
    rest = list(epochs(batches, 3))
    assert [(epoch, batch) for batch in seen] + rest == [(of, batch) for of, batch in whole if of >= epoch]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20)
@given(st.lists(st.integers(1, 4), min_size=2, max_size=4), st.data())
def test_every_example_comes_once_whatever_numbers_of_ranks_go_on(
    kind: str, world_sizes: list[int], data: st.DataObject
) -> None:
    seen: list[int] = []
    state = None
    for world_size in world_sizes:
        ranks: list[Any] = [make(kind, rank=rank, world_size=world_size) for rank in range(world_size)]
        if state is not None:
            for sampler in ranks:
                sampler.load_state_dict(state)
        given_out = [list(batches) for batches in ranks]
        assert sorted(seen + [i for part in given_out for batch in part for i in batch]) == list(range(len(LENGTHS)))
        steps = data.draw(st.integers(0, len(given_out[0]) // 3))
        seen += [i for part in given_out for batch in part[:steps] for i in batch]
        states = [batches.state_dict(steps) for batches in ranks]
        assert all(each == states[0] for each in states)
        state = saved(states[0])


class Indices(Dataset[int]):
    def __getitem__(self, index: int) -> int:
        return index


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_workers", [0, 2])
def test_workers_that_are_ahead_of_the_loop_change_nothing(kind: str, num_workers: int) -> None:
    def loader(batches: Batches) -> DataLoader[Any]:
        if isinstance(batches, DynamicBatchSampler):
            return DataLoader(Indices(), batch_sampler=batches, collate_fn=list, num_workers=num_workers)
        return DataLoader(batches, batch_size=None, collate_fn=list, num_workers=num_workers)

    whole = list(make(kind))
    batches = make(kind)
    seen = list(itertools.islice(loader(batches), 5))
    state = saved(batches.state_dict(5))
    resumed = make(kind)
    resumed.load_state_dict(state)
    assert seen + list(loader(resumed)) == whole


@pytest.mark.parametrize("kind", KINDS)
def test_epoch_whose_steps_are_all_done_has_none_left_and_the_next_one_all(kind: str) -> None:
    batches = make(kind)
    steps = len(list(batches))
    resumed = make(kind)
    resumed.load_state_dict(batches.state_dict(steps))
    assert list(resumed) == []
    resumed.set_epoch(1)
    assert list(resumed) == [batch for epoch, batch in epochs(make(kind), 2) if epoch == 1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"seed": 1}, "its seed is 0, here it is 1"),
        ({"max_batch_length": 90}, "its max_batch_length is .*100.*, here it is .*90"),
        ({"max_batch_ex": 4}, "its max_batch_ex is None, here it is 4"),
    ],
)
def test_state_of_other_settings_is_refused_with_the_first_that_differs(
    kind: str, other: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=f"batches in another order: {message}"):
        make(kind, **other).load_state_dict(make(kind).state_dict(0))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"lengths": LENGTHS[:-1]}, "its examples is 150, here it is 149"),
        ({"lengths": [*LENGTHS[:-1], 3.0]}, "its lengths is"),
        ({"padding": 0.1}, "its padding is 0.03, here it is 0.1"),
        ({"buckets": 3}, "its padding is 0.03, here it is None"),
        ({"shuffle": False}, "its shuffle is True"),
    ],
)
def test_state_of_other_lengths_or_another_order_is_refused(other: dict[str, Any], message: str) -> None:
    arguments = dict[str, Any](lengths=LENGTHS, max_batch_length=100) | other
    with pytest.raises(InputError, match=message):
        DynamicBatchSampler(**arguments).load_state_dict(make("sampler").state_dict(0))


@pytest.mark.parametrize("kind", KINDS)
def test_state_of_something_else_is_refused(kind: str) -> None:
    with pytest.raises(InputError, match=r"no state of dynamic batches: it has \['epoch'\]"):
        make(kind).load_state_dict({"epoch": 3})


@pytest.mark.parametrize("steps", [-1, 10_000])
def test_steps_that_an_epoch_does_not_have_are_refused(steps: int) -> None:
    with pytest.raises(InputError, match=f"{steps} steps of epoch 0 are said to be done"):
        make("sampler").state_dict(steps)
    if steps < 0:
        with pytest.raises(InputError, match="-1 steps are said to be done"):
            make("stream").state_dict(steps)


def test_stream_refuses_a_state_that_its_workers_would_not_hear_of() -> None:
    batches = make("stream")
    loader = DataLoader(batches, batch_size=None, collate_fn=list, num_workers=1, persistent_workers=True)  # type: ignore[arg-type]
    list(loader)
    with pytest.raises(InputError, match="load_state_dict comes too late"):
        batches.load_state_dict(batches.state_dict(0))
