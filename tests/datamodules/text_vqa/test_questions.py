"""Questions that cannot be used are named and left out if they may be, and are tokenized as the settings say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datamodules.text_vqa import TextVQA
from datamodules.vqa.dataset import unpack_images
from sextant.errors import InputError
from tests.datamodules.text_vqa.small_data import (
    data_in,
    read_rows,
    text_vqa_data,
    write_rows,
)
from tests.filesystem import cut_in_half, listing
from tests.noise_images import noise


@pytest.mark.filterwarnings("error")
def test_questions_that_are_too_long_are_counted_in_a_warning(prepared: Callable[..., TextVQA]) -> None:
    prepared("test", preprocessing={"max_question_length": 12})
    with pytest.warns(UserWarning, match=r"\(test\): 3 of 13 questions are longer .*max_question_length .10."):
        data = prepared("test", preprocessing={"max_question_length": 10})
    assert max(int(batch["question"].lengths.max()) for batch in data.test_dataloader()) == 10


@pytest.mark.parametrize("ocr", [False, True])
def test_words_in_the_image_follow_the_question_if_they_shall(folder: Path, ocr: bool) -> None:
    rows = read_rows(folder, "train")
    rows[2]["ocr_tokens"] = ["RED", "red?"]
    write_rows(folder, "train", rows)
    data = data_in(folder, "fit", {"ocr": ocr})
    question = [2, *(5, 6, 7, 9), 3]
    (batch,) = data.train_dataloader()
    row = batch["index"].tolist().index(2)
    assert batch["question"].data[row, : batch["question"].lengths[row]].tolist() == question + [8, 8, 9, 3] * ocr


def test_questions_with_other_than_ten_answers_are_counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("datamodules.text_vqa.rank_zero_info", said.append)
    rows = read_rows(folder, "train")
    rows[0]["answers"] = ["one"]
    rows[3]["answers"] = ["one"] * 11
    write_rows(folder, "train", rows)
    data_in(folder, "fit", {"min_count": 1})
    assert [line.partition(": ")[2] for line in said] == [
        "4 questions, 2 of them with other than 10 answers",
        "2 questions",
    ]


def test_images_of_every_mode_are_rgb(folder: Path) -> None:
    color = (200, 60, 30)
    gray = round(0.299 * 200 + 0.587 * 60 + 0.114 * 30)
    plain = Image.new("RGB", (40, 24), color)
    modes = {"gray.png": "L", "palette.gif": "P", "alpha.png": "RGBA", "print.jpg": "CMYK"}
    for name, mode in modes.items():
        plain.convert(mode).save(folder / name)
    rows = read_rows(folder, "train")
    write_rows(folder, "train", [row | {"image": name} for row, name in zip(rows, modes, strict=True)])
    data = data_in(folder, "fit")
    (batch,) = data.train_dataloader()
    images = data.to_images(data.transform(batch, training=True)["image"])
    for index, image in zip(batch["index"].tolist(), images, strict=True):
        expected = [gray] * 3 if [*modes][index] == "gray.png" else color
        np.testing.assert_allclose(image[:, 5:10, 5:10].float().mean((1, 2)), expected, atol=6)


def break_image(folder: Path) -> str:
    cut_in_half(folder / "image_1.png")
    return f"{folder / 'train.jsonl'}:2: the image {folder / 'image_1.png'} cannot be read: "


def remove_image(folder: Path) -> str:
    (folder / "image_1.png").unlink()
    return f"{folder / 'train.jsonl'}:2: there is no image {folder / 'image_1.png'}"


def change_row(folder: Path, **change: Any) -> None:
    rows = read_rows(folder, "train")
    rows[1] |= change
    write_rows(folder, "train", rows)


def empty_question(folder: Path) -> str:
    change_row(folder, question="  ")
    return f"{folder / 'train.jsonl'}:2: the question is empty"


def no_answers(folder: Path) -> str:
    change_row(folder, answers=[])
    return f"{folder / 'train.jsonl'}:2: there is no answer to the question"


def null_answers(folder: Path) -> str:
    change_row(folder, answers=[None, ""])
    return f"{folder / 'train.jsonl'}:2: there is no answer to the question"


@pytest.mark.parametrize("fault", [break_image, remove_image, empty_question, no_answers, null_answers])
def test_question_that_cannot_be_used_is_named_and_left_out_if_it_may_be(
    folder: Path, fault: Callable[[Path], str]
) -> None:
    place = fault(folder)
    with pytest.raises(InputError, match="1 of 4 questions") as error:
        data_in(folder, "fit", {"min_count": 1})
    assert place in str(error.value)
    with pytest.warns(UserWarning, match="1 of 4 questions") as warned:
        data = data_in(folder, "fit", {"min_count": 1}, invalid_samples="skip")
    assert any(place in str(warning.message) for warning in warned)
    (batch,) = data.train_dataloader()
    assert sorted(batch["index"].tolist()) == [0, 1, 2]
    for index, label, image in zip(
        batch["index"].tolist(), batch["label"].tolist(), unpack_images(*batch["image"]), strict=True
    ):
        number = (0, 2, 3)[index]
        assert data.data_spec().labels[label] == f"answer {number % 2}"
        np.testing.assert_array_equal(image.numpy(), noise(number, 64, 64, 3).transpose(2, 0, 1))


def test_validation_answers_that_training_does_not_have_are_unknown(folder: Path) -> None:
    rows = read_rows(folder, "val")
    rows[1]["answers"] = ["something else"] * 10
    write_rows(folder, "val", rows)
    (batch,) = data_in(folder, "validate").val_dataloader()
    by_index = dict(zip(batch["index"].tolist(), batch["label"].tolist(), strict=True))
    assert by_index[1] == 0 != by_index[0]


def test_missing_folder_is_named(tmp_path: Path, text_vqa: Path) -> None:
    data = text_vqa_data({"tokenizer": str(text_vqa)}, root=str(tmp_path / "nowhere"), cache=str(tmp_path / "cache"))
    data.prepare_data()
    with pytest.raises(InputError, match=r"there is no train split.*data\.root") as error:
        data.setup("fit")
    assert str(tmp_path / "nowhere") in str(error.value)
    assert listing(tmp_path) == []
