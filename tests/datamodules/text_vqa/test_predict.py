"""Questions of one's own are answered, and samples are named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from datamodules.text_vqa import TextVQA
from sextant.errors import InputError
from tests.datamodules.text_vqa.small_data import (
    data_in,
    one_batch,
    published_rows,
)
from tests.datamodules.trainer_states import during
from tests.noise_images import noise


def test_question_about_an_image_is_asked_without_any_data_set(folder: Path, tmp_path: Path) -> None:
    options = {"image": str(folder / "image_5.png"), "question": "What is RED?"}
    data = data_in(tmp_path / "nowhere", "predict", {"tokenizer": str(folder)}, options)
    (batch,) = data.predict_dataloader()
    batch = data.transform(batch, training=False)
    assert batch.keys() == {"image", "question", "text", "index"}
    assert batch["text"] == ["What is RED?"]
    assert batch["question"].data.tolist() == [[2, 5, 6, 8, 9, 3]]
    alone = one_batch(torch.from_numpy(noise(5, 64, 64, 3).transpose(2, 0, 1)))
    assert torch.equal(batch["image"], data.transform(alone, training=False)["image"])
    assert data.data_spec().labels == ()
    data.trainer = during("predicting")
    assert data.sample_names(batch) == [str(folder / "image_5.png")]


@pytest.mark.parametrize(
    ("image", "question"), [("missing.png", "What?"), ("vocab.txt", "What?"), ("image_0.png", " ")]
)
@pytest.mark.parametrize("invalid_samples", ["error", "skip"])
@pytest.mark.filterwarnings("ignore:.*cannot be used")
def test_question_that_cannot_be_asked_is_named(folder: Path, image: str, question: str, invalid_samples: str) -> None:
    with pytest.raises(InputError) as error:
        data_in(
            folder,
            "predict",
            prediction={"image": str(folder / image), "question": question},
            invalid_samples=invalid_samples,
        )
    assert str(folder / image) in str(error.value)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
@pytest.mark.parametrize("ranks", [1, 2])
def test_questions_of_a_file_are_asked_in_their_order(folder: Path, suffix: str, ranks: int) -> None:
    order = [3, 1, 1, 5, 0]
    file = folder / f"ask.{suffix}"
    if suffix == "csv":
        file.write_text("question,image\n" + "".join(f"Is it {k}?,image_{k}.png\n" for k in order))
    else:
        rows = [{"question": f"Is it {k}?", "image": f"image_{k}.png"} for k in order]
        file.write_text("\n".join(json.dumps(row) for row in rows))
    data = data_in(folder, "predict", prediction={"questions": str(file)}, batch_size=4)
    found: dict[int, str] = {}
    for rank in range(ranks):
        data.trainer = during("predicting", rank, ranks)
        for batch in data.predict_dataloader():
            found |= zip(batch["index"].tolist(), batch["text"], strict=True)
            names = [str(folder / f"image_{order[index]}.png") for index in batch["index"].tolist()]
            assert data.sample_names(batch) == names
    assert [found[k] for k in range(5)] == [f"Is it {k}?" for k in order]


def test_without_questions_the_test_split_is_answered(
    prepared: Callable[..., TextVQA], text_vqa: Path, tmp_path: Path
) -> None:
    shutil.copytree(text_vqa / "data", tmp_path / "data")
    for split in ("train", "validation"):
        (tmp_path / "data" / f"{split}-00000-of-00001.parquet").unlink()
    data = prepared("predict", dataset=str(tmp_path / "data"), cache=str(tmp_path / "cache"))
    batches = list(data.predict_dataloader())
    rows = published_rows(text_vqa, "test")
    assert [text for batch in batches for text in batch["text"]] == [row["question"] for row in rows]
    assert all("label" not in batch for batch in batches)
    data.trainer = during("predicting")
    assert data.sample_names({"index": torch.tensor([4])}) == [f"{tmp_path / 'data'} (test), row 4"]


@pytest.mark.parametrize("state", ["training", "validating", "sanity_checking"])
def test_samples_are_named_by_their_files_in_each_split(folder: Path, state: str) -> None:
    data = data_in(folder, "fit")
    data.trainer = during(state)
    first = 0 if state == "training" else 4
    names = [str(folder / f"image_{first + k}.png") for k in (1, 0)]
    assert data.sample_names({"index": torch.tensor([1, 0])}) == names


def test_samples_without_a_file_are_named_by_their_rows(prepared: Callable[..., TextVQA], text_vqa: Path) -> None:
    data = prepared("test")
    data.trainer = during("testing")
    assert data.sample_names({"index": torch.tensor([12, 0])}) == [
        f"{text_vqa / 'data'} (test), row {k}" for k in (12, 0)
    ]


def test_prediction_is_proposed_on_the_validation_questions_where_there_are_none_for_tests(folder: Path) -> None:
    data = data_in(folder, "fit")
    with_test = (folder / "test.jsonl").exists()
    assert data.prediction_example() == ([] if with_test else [f"--data.prediction.questions={folder / 'val.jsonl'}"])
    (folder / "test.jsonl").unlink(missing_ok=True)
    assert data.prediction_example() == [f"--data.prediction.questions={folder / 'val.jsonl'}"]
