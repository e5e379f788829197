"""Samples are counted, cut, filled up, or left out with a word."""

import warnings
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sextant.errors import InputError
from sextant.export.graph import BATCH, ArgMax, Axis, ExportGraph, GraphInput
from sextant.export.real_inputs import real_inputs

LOW, LIMIT, MULTIPLE = 4, 12, 4


def graph(batch: int | Axis = BATCH, limit: int | None = LIMIT) -> ExportGraph:
    """Takes ``x`` float (batch, length, 3) and ``lengths`` int64 (batch,)."""
    length = Axis("frames", example=8, low=LOW, limit=limit, multiple=MULTIPLE)
    return ExportGraph(
        network=nn.Identity(),
        inputs=(GraphInput("x", (batch, length, 3)), GraphInput("lengths", (batch,), torch.int64)),
        outputs=("x",),
        read=lambda batch: (batch["x"], batch["lengths"]),
        decide=ArgMax(1),
    )


def batches(shapes: list[tuple[int, int]]) -> list[dict[str, Any]]:
    """Batches of so many samples of such a length. All numbers differ."""
    made, start = [], 1
    for count, length in shapes:
        size = count * length * 3
        x = torch.arange(start, start + size, dtype=torch.float32).reshape(count, length, 3)
        made.append({"x": x, "lengths": torch.full((count,), length)})
        start += size
    return made


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 16)), min_size=1, max_size=6),
    st.integers(1, 20),
    st.booleans(),
)
def test_the_first_samples_that_fit_come_whole_and_in_order(
    shapes: list[tuple[int, int]], wanted: int, one_at_a_time: bool
) -> None:
    given = batches(shapes)
    samples = [(x, int(n)) for batch in given for x, n in zip(batch["x"], batch["lengths"], strict=True)]
    expected = [(x, n) for x, n in samples if LOW <= n <= LIMIT][:wanted]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not expected:
            with pytest.raises(InputError, match=f"None of {len(samples)} samples fits"):
                real_inputs(graph(), given, wanted)
            return
        found = real_inputs(graph(1 if one_at_a_time else BATCH), given, wanted)
    rows = [(x, int(n)) for xs, ns in found for x, n in zip(xs, ns, strict=True)]
    assert [n for _, n in rows] == [n for _, n in expected]
    for (row, n), (sample, _) in zip(rows, expected, strict=True):
        assert row.shape[0] % MULTIPLE == 0
        assert row.shape[0] - n < MULTIPLE
        assert torch.equal(row[:n], sample)
        assert not row[n:].any()
    assert not one_at_a_time or all(len(xs) == 1 for xs, _ in found)


def test_no_more_batches_are_read_than_are_needed() -> None:
    def endless() -> Any:
        yield from batches([(3, 8), (3, 8)])
        raise AssertionError("a third batch was asked for")

    assert [len(x) for x, _ in real_inputs(graph(), endless(), 5)] == [3, 2]


def test_left_out_samples_are_counted_in_a_warning() -> None:
    with pytest.warns(UserWarning, match="^4 samples do not fit"):
        real_inputs(graph(), batches([(3, 13), (2, 8), (1, 3)]), 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        real_inputs(graph(), batches([(3, 12), (2, 8)]), 100)


@pytest.mark.parametrize(("limit", "room"), [(LIMIT, "4 to 12 frames"), (None, "4 or more frames")])
def test_room_is_said_when_nothing_fits(limit: int | None, room: str) -> None:
    with pytest.raises(InputError, match=f"None of 5 samples fits into the file, which has room for {room}"):
        real_inputs(graph(limit=limit), batches([(3, 2), (2, 1)]), 100)
