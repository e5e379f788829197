"""Batches of examples of different lengths."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sextant.errors import InputError
from sextant.padding import pad_right


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(0, 2))
def test_padding_is_on_the_right_and_lengths_tell_it_from_data(lengths: list[int], features: int) -> None:
    data = [torch.randn(length, *[3] * features) for length in lengths]
    batch = pad_right([{"x": example, "id": f"n{i}"} for i, example in enumerate(data)])
    x = batch["x"]
    assert x.lengths.tolist() == lengths
    assert x.data.shape[:2] == (len(lengths), max(lengths))
    for row, example, length in zip(x.data, data, lengths, strict=True):
        assert torch.equal(row[:length], example)
        assert not row[length:].any()
    assert x.mask.sum(1).tolist() == lengths
    if max(lengths):
        assert x.relative.tolist() == pytest.approx([length / max(lengths) for length in lengths])
    assert batch["id"] == [f"n{i}" for i in range(len(lengths))]


def test_numbers_and_scalars_become_one_tensor() -> None:
    batch = pad_right([{"label": 1, "weight": torch.tensor(0.5)}, {"label": 2, "weight": torch.tensor(1.5)}])
    assert batch["label"].tolist() == [1, 2]
    assert batch["weight"].tolist() == [0.5, 1.5]


def test_examples_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(InputError, match=r"'x' .* \(2, 3\) torch\.float32, \(2, 4\) torch\.float32"):
        pad_right([{"x": torch.zeros(2, 3)}, {"x": torch.zeros(2, 4)}])
    for first, second in [(torch.float32, torch.float64), (torch.int64, torch.float32), (torch.bool, torch.uint8)]:
        with pytest.raises(InputError, match=rf"'x' .* \(2,\) {first}, \(3,\) {second}"):
            pad_right([{"x": torch.zeros(2, dtype=first)}, {"x": torch.zeros(3, dtype=second)}])
    with pytest.raises(InputError, match="have no 'y'"):
        pad_right([{"x": 1, "y": 2}, {"x": 1}])
