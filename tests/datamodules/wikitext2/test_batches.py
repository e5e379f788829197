"""Text becomes the batches that are described, whoever asks for them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datamodules.text.sources import FILE_NAMES
from datamodules.text.token_stream import EOS, UNK
from datamodules.text.windows import IGNORED, Evaluation
from datamodules.wikitext2 import WikiText2
from tests.datamodules.text_data import BATCHINGS, during, tokens, write_tokens


@pytest.mark.parametrize("batching", BATCHINGS)
def test_training_batches_are_words_with_the_words_after_them(
    prepared: Callable[..., WikiText2], wikitext2: Path, batching: str
) -> None:
    data = prepared("fit", batching=batching)
    batches = list(data.train_dataloader())
    assert len(batches) == len(data.train_dataloader()) == (5 if batching == "windows" else 6)
    assert len(batches[0]["input"]) == 4
    for number, batch in enumerate(batches):
        rows, length = batch["input"].shape
        assert batch.keys() == {"input", "target", "index"}
        assert 1 <= rows <= 4
        # 170 words are columns of 42, of which 41 are predicted: 5 steps of 8 and one of 1.
        assert length == (1 if batching == "columns" and number == 5 else 8)
        assert batch["target"].shape == (rows, length)
        assert batch["index"].shape == (rows,)
        assert all(tensor.dtype == torch.int64 for tensor in batch.values())
        assert torch.equal(batch["input"][:, 1:], batch["target"][:, :-1])
        assert (batch["target"] != IGNORED).all()
    text = " ".join(tokens(wikitext2, "train"))
    for batch in batches:
        for given, target in zip(batch["input"].tolist(), batch["target"].tolist(), strict=True):
            assert " ".join(data.vocabulary[k] for k in [*given, target[-1]]) in text


@pytest.mark.parametrize(("stage", "split"), [("fit", "val"), ("validate", "val"), ("test", "test")])
@pytest.mark.parametrize("stride", [None, 1, 3, 8])
def test_evaluation_predicts_every_word_but_the_first_once(
    prepared: Callable[..., WikiText2], wikitext2: Path, stage: str, split: str, stride: int | None
) -> None:
    data = prepared(stage, eval_stride=stride)
    predicted: list[int] = []
    for batch in data.val_dataloader() if split == "val" else data.test_dataloader():
        rows = len(batch["index"])
        assert 1 <= rows <= 4
        assert batch.keys() == {"input", "target", "index"}
        assert batch["input"].shape == batch["target"].shape == (rows, 8)
        assert all(tensor.dtype == torch.int64 for tensor in batch.values())
        predicted += batch["target"][batch["target"] != IGNORED].tolist()
    assert [data.vocabulary[k] for k in predicted] == tokens(wikitext2, split)[1:]


def test_stride_of_evaluation_is_its_length_unless_given() -> None:
    stream = np.zeros(20, np.int32)
    assert Evaluation(length=5).windows(stream).stride == 5
    assert Evaluation(length=5, stride=2).windows(stream).stride == 2


def test_vocabulary_is_that_of_the_training_split_in_every_stage(prepared: Callable[..., WikiText2]) -> None:
    for stage in ("fit", "validate", "test"):
        data = prepared(stage)
        assert data.vocabulary[:3] == [UNK, "word0", "word1"]
        assert len(data.vocabulary) == 14


def test_min_count_makes_rare_words_of_the_training_text_unknown(
    tmp_path: Path, make: Callable[..., WikiText2]
) -> None:
    root = tmp_path / "text"
    write_tokens(root, val=20)
    (root / "train.txt").write_text("a b a c b a\n" * 20 + "d\n")
    data = make(root=str(root), min_count=2)
    data.setup("fit")
    assert data.vocabulary == ["a", "b", "c", EOS, UNK]


@pytest.mark.parametrize("batching", BATCHINGS)
def test_units_are_the_words_that_are_predicted(prepared: Callable[..., WikiText2], batching: str) -> None:
    data = prepared("fit", batching=batching)
    batches = list(data.train_dataloader())
    assert [data.units(batch) for batch in batches] == [{"tokens": batch["input"].numel()} for batch in batches]
    # 20 windows of 8; four columns of 42, all but the first of each.
    assert sum(data.units(batch)["tokens"] for batch in batches) == (160 if batching == "windows" else 4 * 41)


@pytest.mark.parametrize("batching", BATCHINGS)
def test_training_samples_are_named_by_file_and_first_word(
    prepared: Callable[..., WikiText2], wikitext2: Path, batching: str
) -> None:
    data = prepared("fit", batching=batching)
    loader = data.train_dataloader()
    data.trainer = during("training")
    assert_named_by_first_word(data, loader, wikitext2, "train")


@pytest.mark.parametrize(
    ("stage", "state", "split"),
    [
        ("fit", "sanity_checking", "val"),
        ("fit", "validating", "val"),
        ("validate", "validating", "val"),
        ("test", "testing", "test"),
    ],
)
def test_evaluation_samples_are_named_by_file_and_first_word(
    prepared: Callable[..., WikiText2], wikitext2: Path, stage: str, state: str, split: str
) -> None:
    data = prepared(stage)
    loader = data.test_dataloader() if split == "test" else data.val_dataloader()
    data.trainer = during(state)
    assert_named_by_first_word(data, loader, wikitext2, split)


def assert_named_by_first_word(data: WikiText2, loader: Any, root: Path, split: str) -> None:
    text = tokens(root, split)
    count = 0
    for batch in loader:
        names = data.sample_names(batch)
        for name, row in zip(names, batch["input"].tolist(), strict=True):
            file, number = re.fullmatch(r"(.*), from word (\d+)", name).groups()  # type: ignore[union-attr]
            assert file == str(root / FILE_NAMES[split][0])
            inside = text[int(number) - 1 :][: len(row)]
            assert [data.vocabulary[k] for k in row][: len(inside)] == inside
            count += 1
    assert count > 5


@pytest.mark.parametrize("batching", BATCHINGS)
def test_two_processes_share_the_batches_of_one(prepared: Callable[..., WikiText2], batching: str) -> None:
    data = prepared("fit", batching=batching)
    for make_loader in (data.train_dataloader, data.val_dataloader):
        data.trainer = None
        whole = list(make_loader())
        parts_of_ranks = []
        for rank in range(2):
            data.trainer = during("training", rank, world_size=2)
            parts_of_ranks.append(list(make_loader()))
        for batch, *parts in zip(whole, *parts_of_ranks, strict=True):
            for rank, part in enumerate(parts):
                for name, tensor in batch.items():
                    assert torch.equal(part[name], tensor[rank::2])


@pytest.mark.parametrize("batching", BATCHINGS)
def test_workers_give_the_same_batches(prepared: Callable[..., WikiText2], batching: str) -> None:
    alone, others = (prepared("fit", batching=batching, num_workers=n, seed=3) for n in (0, 1))
    torch.testing.assert_close(list(others.train_dataloader()), list(alone.train_dataloader()), rtol=0, atol=0)


def test_seed_changes_the_windows_and_columns_have_no_order_to_change(prepared: Callable[..., WikiText2]) -> None:
    def indices(**options: Any) -> list[list[int]]:
        return [batch["index"].tolist() for batch in prepared("fit", **options).train_dataloader()]

    assert indices(seed=1) == indices(seed=1) != indices(seed=2)
    assert indices(seed=1, batching="columns") == indices(seed=2, batching="columns")
