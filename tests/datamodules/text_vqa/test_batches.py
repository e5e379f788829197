"""Questions about images become the batches that are described."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from datamodules.text_vqa import TextVQA
from datamodules.vqa.scoring import score
from sextant.errors import InputError
from tests.datamodules.text_vqa.small_data import (
    ANSWERS,
    COUNTS,
    indices,
    loader_of,
    published_rows,
)


@pytest.mark.parametrize(("stage", "split"), [("fit", "train"), ("fit", "val"), ("validate", "val"), ("test", "test")])
def test_batches_have_the_fields_that_are_documented(
    prepared: Callable[..., TextVQA], text_vqa: Path, stage: str, split: str
) -> None:
    data = prepared(stage)
    rows = published_rows(text_vqa, split)
    seen = []
    for raw in loader_of(data, split):
        batch = data.transform(raw, training=split == "train")
        count = len(batch["index"])
        assert 1 <= count <= 12
        assert batch.keys() == {
            *("image", "question", "text", "index", "label", "answers", "scores", "annotators"),
        }
        assert (batch["image"].shape, batch["image"].dtype) == ((count, 3, 16, 16), torch.float32)
        assert [batch[key].dtype for key in ("index", "label")] == [torch.int64] * 2
        tokens, token_counts = batch["question"]
        assert tokens.shape == (count, token_counts.max())
        assert batch["answers"].data.shape == batch["scores"].data.shape == (count, batch["answers"].lengths.max())
        for place, index in enumerate(batch["index"].tolist()):
            row = rows[index]
            assert batch["text"][place] == row["question"]
            assert batch["annotators"][place] == row["answers"]
            assert token_counts[place] == len(row["question"].split()) + 3  # with [CLS], [SEP] and the question mark
            right = max(row["answers"], key=row["answers"].count)
            assert data.data_spec().labels[batch["label"][place]] == right
            numbers = batch["answers"].data[place, : batch["answers"].lengths[place]].tolist()
            worth = {
                data.data_spec().labels[number]: value
                for number, value in zip(numbers, batch["scores"].data[place].tolist(), strict=False)
            }
            assert worth == pytest.approx({one: score(row["answers"].count(one), 10) for one in set(row["answers"])})
            for key in ("question", "answers", "scores"):
                assert (batch[key].data[place, batch[key].lengths[place] :] == 0).all()
        seen += batch["index"].tolist()
    assert sorted(seen) == list(range(COUNTS[split]))


def test_vocabulary_is_that_of_the_training_answers_in_every_stage(prepared: Callable[..., TextVQA]) -> None:
    vocabularies = [prepared(stage).data_spec().labels for stage in ("fit", "validate", "test")]
    assert vocabularies[0][0] == "<unk>"
    assert set(vocabularies[0][1:]) == ANSWERS
    assert vocabularies[0][1:3] == ("no", "yes")  # the most frequent ones
    assert vocabularies[1] == vocabularies[2] == vocabularies[0]
    assert set(prepared("fit", preprocessing={"min_count": 10}).data_spec().labels) == {"<unk>", "yes", "no"}


def test_vocabulary_from_a_file_needs_no_training_questions(
    prepared: Callable[..., TextVQA], text_vqa: Path, tmp_path: Path
) -> None:
    (tmp_path / "answers.txt").write_text("<unk>\nred\nyes\n")
    shutil.copytree(text_vqa / "data", tmp_path / "data")
    (tmp_path / "data" / "train-00000-of-00001.parquet").unlink()
    options = {"dataset": str(tmp_path / "data"), "cache": str(tmp_path / "cache")}
    data = prepared("validate", **options, preprocessing={"answers": str(tmp_path / "answers.txt")})
    assert data.data_spec().labels == ("<unk>", "red", "yes")
    labels = torch.cat([batch["label"] for batch in data.val_dataloader()])
    assert labels.unique().tolist() == [0, 1, 2]
    with pytest.raises(InputError, match="there is no split train but validation, test"):
        prepared("validate", **options)


def test_tokens_are_counted_in_every_stage(prepared: Callable[..., TextVQA], text_vqa: Path) -> None:
    count = len((text_vqa / "vocab.txt").read_text().splitlines())
    assert [prepared(stage).data_spec().input_sizes["tokenizer"] for stage in ("fit", "test", "predict")] == [count] * 3


def test_workers_give_the_same_batches(prepared: Callable[..., TextVQA]) -> None:
    plain, worked = (list(prepared("test", num_workers=workers).test_dataloader()) for workers in (0, 2))
    assert indices(worked) == indices(plain)
    for one, other in zip(plain, worked, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one["image"], other["image"], strict=True))
        assert torch.equal(one["scores"].data, other["scores"].data)
