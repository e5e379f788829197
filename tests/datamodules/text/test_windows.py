"""Words are predicted from the words before them, each as often as it is said to be."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from datamodules.text.windows import IGNORED, Columns, SlidingWindows, Windows
from sextant.samplers.fixed.shuffled import ShuffledBatches


def stream(tokens: int) -> np.ndarray:
    """Words that are their own places, from 1000 on, so that each is recognized wherever it comes."""
    return np.arange(1000, 1000 + tokens, dtype=np.int32)


def assert_is_batch(batch: dict[str, Tensor], rows: int, length: int) -> None:
    assert batch.keys() == {"input", "target", "index"}
    assert all(tensor.dtype == torch.int64 for tensor in batch.values())
    assert batch["input"].shape == batch["target"].shape == (rows, length)
    assert batch["index"].shape == (rows,)


def test_positions_that_are_not_predicted_are_those_that_the_loss_leaves_out() -> None:
    assert torch.nn.CrossEntropyLoss().ignore_index == IGNORED


# Windows


@settings(max_examples=100, deadline=None)
@given(data=st.data(), tokens=st.integers(2, 60))
def test_window_holds_the_words_from_its_position_on_and_those_after_them(data: st.DataObject, tokens: int) -> None:
    length = data.draw(st.integers(1, tokens - 1))
    positions = data.draw(st.lists(st.integers(0, tokens - 1 - length), min_size=1, max_size=5))
    words = stream(tokens)
    batch = Windows(words, length)[positions]
    assert_is_batch(batch, len(positions), length)
    assert batch["index"].tolist() == positions
    for k, position in enumerate(positions):
        assert batch["input"][k].tolist() == words[position : position + length].tolist()
        assert batch["target"][k].tolist() == words[position + 1 : position + 1 + length].tolist()


def test_windows_are_asked_for_by_the_length_of_the_stream() -> None:
    assert len(Windows(stream(17), 5)) == 17


# Columns: the rules of PyTorch's example, examples/word_language_model/main.py, written again


def batchify(words: Tensor, columns: int) -> Tensor:
    """Words to (rows, columns): each column is a part of the text."""
    rows = words.size(0) // columns
    return words.narrow(0, 0, rows * columns).view(columns, -1).t().contiguous()


def get_batch(source: Tensor, i: int, bptt: int) -> tuple[Tensor, Tensor]:
    """Rows from ``i`` on (rows, columns), and the words after them in one row, as the example's loss has them."""
    rows = min(bptt, len(source) - 1 - i)
    return source[i : i + rows], source[i + 1 : i + 1 + rows].view(-1)


@st.composite
def columns_that_have_a_word_to_predict(draw: st.DrawFn) -> tuple[int, int, int]:
    """Tokens, columns and words in a step."""
    columns = draw(st.integers(1, 8))
    return draw(st.integers(2 * columns, 150)), columns, draw(st.integers(1, 20))


@settings(max_examples=200, deadline=None)
@given(setting=columns_that_have_a_word_to_predict())
@example(setting=(41, 4, 3))  # 10 rows: 9 words in steps of 3
@example(setting=(44, 4, 3))  # 11 rows: the last step has one word
@example(setting=(2, 1, 1))
def test_columns_are_the_batches_of_pytorchs_word_language_model_example(setting: tuple[int, int, int]) -> None:
    tokens, columns, length = setting
    words = stream(tokens)
    source = batchify(torch.from_numpy(words).long(), columns)
    dataset = Columns(words, columns, length)
    order = ShuffledBatches(len(dataset), columns, shuffle=False)
    starts = range(0, source.size(0) - 1, length)
    assert dataset.steps == len(order) == len(starts)
    for i, indices in zip(starts, order, strict=True):
        batch = dataset[indices]
        data, targets = get_batch(source, i, length)
        assert_is_batch(batch, columns, len(data))
        assert torch.equal(batch["input"].t(), data)
        assert torch.equal(batch["target"].t().reshape(-1), targets)
        assert batch["index"].tolist() == indices


@settings(max_examples=100, deadline=None)
@given(setting=columns_that_have_a_word_to_predict())
def test_columns_predict_each_word_but_the_first_of_each_column_once(setting: tuple[int, int, int]) -> None:
    tokens, columns, length = setting
    dataset = Columns(stream(tokens), columns, length)
    order = ShuffledBatches(len(dataset), columns, shuffle=False)
    predicted = sorted(word for batch in order for word in dataset[batch]["target"].flatten().tolist())
    rows = tokens // columns
    used = range(1000, 1000 + rows * columns)
    assert predicted == [word for word in used if (word - 1000) % rows]


def test_columns_of_each_rank_go_on_where_they_stopped() -> None:
    dataset = Columns(stream(103), 6, 5)
    whole = [dataset[indices] for indices in ShuffledBatches(len(dataset), 6, shuffle=False)]
    for rank in range(3):
        parts = [dataset[k] for k in ShuffledBatches(len(dataset), 6, shuffle=False, rank=rank, world_size=3)]
        assert len(parts) == len(whole) == 4
        for part, batch in zip(parts, whole, strict=True):
            for name, tensor in part.items():
                assert torch.equal(tensor, batch[name][rank::3])
        for before, after in itertools.pairwise(parts):
            assert torch.equal(before["target"][:, -1], after["input"][:, 0])


def test_columns_without_a_word_to_predict_have_no_steps() -> None:
    dataset = Columns(stream(7), 4, 3)
    assert (dataset.steps, len(dataset)) == (0, 0)


# Windows for evaluation


@st.composite
def windows_for_evaluation(draw: st.DrawFn) -> tuple[int, int, int]:
    """Tokens, length and stride."""
    length = draw(st.integers(1, 20))
    return draw(st.integers(2, 120)), length, draw(st.integers(1, length))


@settings(max_examples=200, deadline=None)
@given(setting=windows_for_evaluation())
@example(setting=(2, 1, 1))
@example(setting=(2, 20, 20))  # shorter than one window
@example(setting=(21, 20, 7))  # one window exactly
@example(setting=(22, 20, 7))  # one word more
@example(setting=(28, 20, 7))  # two windows exactly
@example(setting=(29, 20, 7))
def test_each_word_but_the_first_is_predicted_once_from_the_words_before_it(setting: tuple[int, int, int]) -> None:
    tokens, length, stride = setting
    words = stream(tokens)
    dataset = SlidingWindows(words, length, stride)
    batch = dataset[range(len(dataset))]
    assert_is_batch(batch, len(dataset), length)
    predicted = []
    for window, (given_words, target) in enumerate(zip(batch["input"].tolist(), batch["target"].tolist(), strict=True)):
        counted = [j for j in range(length) if target[j] != IGNORED]
        assert counted, "a window has nothing to do"
        for j in counted:
            place = target[j] - 1000
            predicted.append(place)
            # The first window that reaches it.
            assert window == max(0, math.ceil((place - length) / stride))
            assert given_words[: j + 1] == words[place - j - 1 : place].tolist()
            assert j + 1 == place or length - stride <= j + 1 <= length
    assert predicted == list(range(1, tokens))


@settings(max_examples=100, deadline=None)
@given(setting=windows_for_evaluation(), data=st.data())
def test_window_is_the_same_in_every_batch(setting: tuple[int, int, int], data: st.DataObject) -> None:
    tokens, length, stride = setting
    dataset = SlidingWindows(stream(tokens), length, stride)
    chosen = data.draw(st.lists(st.integers(0, len(dataset) - 1), min_size=1, max_size=6))
    together = dataset[chosen]
    assert together["index"].tolist() == chosen
    for k, window in enumerate(chosen):
        for name, tensor in dataset[[window]].items():
            assert torch.equal(tensor[0], together[name][k])


@settings(max_examples=100, deadline=None)
@given(setting=windows_for_evaluation())
def test_windows_are_filled_up_with_words_that_there_are(setting: tuple[int, int, int]) -> None:
    tokens, length, stride = setting
    dataset = SlidingWindows(stream(tokens), length, stride)
    assert dataset[range(len(dataset))]["input"].min() >= 1000
    assert dataset[range(len(dataset))]["input"].max() < 1000 + tokens


@pytest.mark.parametrize(
    ("tokens", "length", "stride", "windows"), [(2, 8, 8, 1), (9, 8, 8, 1), (10, 8, 8, 2), (17, 8, 8, 2), (17, 8, 1, 9)]
)
def test_there_are_no_more_windows_than_needed(tokens: int, length: int, stride: int, windows: int) -> None:
    assert len(SlidingWindows(stream(tokens), length, stride)) == windows


@pytest.mark.parametrize("kind", ["windows", "columns", "evaluation"])
def test_batches_of_a_memory_map_are_those_of_memory_and_can_be_written_to(tmp_path: Path, kind: str) -> None:
    words = stream(50)
    (tmp_path / "words.int32").write_bytes(words.tobytes())
    mapped = np.memmap(tmp_path / "words.int32", np.int32, "r")
    found = []
    for source in (words, mapped):
        dataset = {
            "windows": lambda source=source: Windows(source, 5)[[7, 3]],
            "columns": lambda source=source: Columns(source, 4, 5)[[4, 5, 6, 7]],
            "evaluation": lambda source=source: SlidingWindows(source, 5, 3)[[1, 2, 15]],
        }[kind]()
        found.append({name: tensor.clone() for name, tensor in dataset.items()})
        dataset["input"].zero_()
        dataset["target"].zero_()
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    assert words.tolist() == mapped.tolist() == stream(50).tolist()
