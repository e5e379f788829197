"""Batches of a stream on several ranks, also after the number of ranks has changed."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.errors import InputError
from tests.sextant.samplers.stream.word_stream import arguments, batches_of_ranks, examples, in_steps, stream


@given(arguments(), st.integers(2, 4))
def test_only_the_last_batches_are_divided_for_several_ranks(chosen: dict[str, Any], world_size: int) -> None:
    undivided = [frozenset(batch) for batch in batches_of_ranks(1, **chosen)[0]]
    steps = list(zip(*batches_of_ranks(world_size, **chosen), strict=True))
    missing = -len(undivided) % world_size
    assert len(steps) * world_size == len(undivided) + missing
    divided = [batch for step in steps for batch in step if frozenset(batch) not in undivided]
    assert bool(divided) == bool(missing)
    assert {frozenset(batch) for step in steps for batch in step} - {frozenset(b) for b in divided} <= set(undivided)
    # What was divided comes last, apart from batches of single examples.
    first = next((i for i, step in enumerate(steps) if any(batch in divided for batch in step)), len(steps))
    assert len(steps) - first <= world_size


@pytest.mark.parametrize(
    ("count", "sizes"), [(6, [[3], [3]]), (8, [[3, 1], [3, 1]]), (7, [[2, 1], [3, 1]]), (2, [[1], [1]])]
)
def test_last_step_is_filled_up_from_its_own_batches_or_from_the_step_before(
    count: int, sizes: list[list[int]]
) -> None:
    ranks = batches_of_ranks(2, lengths=[1.0] * count, max_batch_length=3)
    assert [[len(batch) for batch in batches] for batches in ranks] == sizes
    assert examples(ranks) == list(range(count))


@pytest.mark.parametrize(
    ("count", "world_size", "options"),
    [(3, 4, {}), (1, 2, {}), (3, 2, {"max_batch_ex": 1}), (5, 4, {"max_batch_ex": 1})],
)
def test_fewer_examples_than_batches_that_are_needed_are_an_error_on_every_rank(
    count: int, world_size: int, options: dict[str, Any]
) -> None:
    for rank in range(world_size):
        with pytest.raises(InputError, match=rf"{count % world_size} examples remain .* to make {world_size} batches"):
            list(stream([1.0] * count, 9, rank=rank, world_size=world_size, **options))


def test_batches_of_a_step_cost_nearly_the_same_on_all_ranks() -> None:
    lengths = np.random.default_rng(0).lognormal(2, 0.6, 8000).clip(1, 40)
    batches = in_steps(batches_of_ranks(8, lengths=lengths.tolist(), max_batch_length=400))
    costs = np.array([len(batch) * lengths[batch].max() for batch in batches]).reshape(-1, 8)
    assert costs.max(1).sum() / costs.mean(1).sum() < 1.03


@given(arguments(), st.integers(1, 3), st.data())
def test_resumed_epoch_goes_on_with_the_batches_that_remain(
    chosen: dict[str, Any], world_size: int, data: st.DataObject
) -> None:
    for rank, whole in enumerate(batches_of_ranks(world_size, **chosen)):
        first = data.draw(st.integers(0, len(whole)))
        second = data.draw(st.integers(0, len(whole) - first))
        done = [(first, world_size), (second, world_size)]
        resumed = stream(**chosen, done=done, rank=rank, world_size=world_size)
        assert list(resumed) == list(resumed) == whole[first + second :]
        resumed.set_epoch(chosen["epoch"])
        assert list(resumed) == whole[first + second :]
        other = chosen["epoch"] + 1
        resumed.set_epoch(other)
        assert list(resumed) == list(stream(**chosen | {"epoch": other}, rank=rank, world_size=world_size))


@given(arguments(), st.lists(st.integers(1, 4), min_size=2, max_size=4), st.data())
def test_another_number_of_ranks_gets_the_examples_that_remain(
    chosen: dict[str, Any], world_sizes: list[int], data: st.DataObject
) -> None:
    seen: list[int] = []
    done: list[tuple[int, int]] = []
    for world_size in world_sizes:
        ranks = batches_of_ranks(world_size, **chosen, done=done)
        assert len({len(batches) for batches in ranks}) == 1
        assert sorted(seen + examples(ranks)) == list(range(len(chosen["lengths"])))
        steps = data.draw(st.integers(0, len(ranks[0])))
        seen += examples([batches[:steps] for batches in ranks])
        if steps:
            done = [*done, (steps, world_size)]


@given(st.integers(1, 3), st.integers(1, 3))
def test_every_position_can_be_resumed_at_with_any_number_of_ranks(before: int, after: int) -> None:
    chosen: dict[str, Any] = {"lengths": [1.0 + i % 7 for i in range(60)], "max_batch_length": 20, "buffer": 20}
    whole = batches_of_ranks(before, **chosen)
    for steps in range(len(whole[0]) + 1):
        kept = examples([batches[:steps] for batches in whole])
        remaining = batches_of_ranks(after, **chosen, done=[(steps, before)])
        assert sorted(kept + examples(remaining)) == list(range(60))
        if before == after:
            assert remaining == [batches[steps:] for batches in whole]
