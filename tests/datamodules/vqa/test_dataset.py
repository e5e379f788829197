"""A batch of questions has the images, tokens and answers of the rows that were asked for."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.vqa.answer_vocabulary import AnswerVocabulary
from datamodules.vqa.dataset import VisualQuestions, unpack_images
from datamodules.vqa.questions import ImageColumn, ImageFiles, QuestionSet
from sextant.errors import InputError
from tests.filesystem import cut_in_half
from tests.noise_images import noise

SIZES = [(20, 30), (5, 7), (16, 16)]
QUESTIONS = ["Is it?", "What color is it?", "Who?"]
TOKENS = [np.array([2, 7, 3]), np.array([2, 5, 6, 7, 3]), np.array([2, 3])]
ANSWERS = [["yes"] * 8 + ["no"] * 2, ["blue"] * 10, ["no"]]


@pytest.fixture
def rows(tmp_path: Path) -> QuestionSet:
    """Three questions about images of three sizes."""
    files = [tmp_path / f"{k}.png" for k in range(len(SIZES))]
    for k, file in enumerate(files):
        Image.fromarray(noise(k, *SIZES[k], 3)).save(file)
    return QuestionSet("a.csv", ["a.csv:2", "a.csv:3", "a.csv:4"], QUESTIONS, ANSWERS, [[]] * 3, ImageFiles(files))


@pytest.fixture
def labeled(rows: QuestionSet) -> VisualQuestions:
    return VisualQuestions(rows, TOKENS, AnswerVocabulary(["<unk>", "no", "yes"]))


def test_batch_holds_the_rows_that_were_asked_for_in_that_order(labeled: VisualQuestions) -> None:
    assert len(labeled) == 3
    assert labeled.lengths.tolist() == [3, 5, 2]
    batch = labeled[[1, 0, 2]]
    assert batch["index"].tolist() == [1, 0, 2]
    assert batch["text"] == [QUESTIONS[k] for k in (1, 0, 2)]
    assert batch["annotators"] == [ANSWERS[k] for k in (1, 0, 2)]
    assert batch["question"].data.tolist() == [[2, 5, 6, 7, 3], [2, 7, 3, 0, 0], [2, 3, 0, 0, 0]]
    assert batch["question"].lengths.tolist() == [5, 3, 2]
    for image, k in zip(unpack_images(*batch["image"]), (1, 0, 2), strict=True):
        assert image.dtype == torch.uint8
        np.testing.assert_array_equal(image.numpy(), noise(k, *SIZES[k], 3).transpose(2, 0, 1))


def test_answers_are_numbers_with_their_scores_padded_to_the_most_of_a_question(labeled: VisualQuestions) -> None:
    batch = labeled[[0, 1, 2]]
    assert batch["label"].tolist() == [2, 0, 1]
    assert batch["answers"].data.tolist() == [[2, 1], [0, 0], [1, 0]]
    torch.testing.assert_close(batch["scores"].data, torch.tensor([[1.0, 0.6], [0.0, 0.0], [1.0, 0.0]]))
    assert batch["answers"].lengths.tolist() == batch["scores"].lengths.tolist() == [2, 1, 1]
    assert [batch[key].dtype for key in ("label", "index")] == [torch.int64] * 2
    assert [batch[key].data.dtype for key in ("question", "answers", "scores")] == [torch.int64] * 2 + [torch.float32]


def test_without_a_vocabulary_nothing_is_said_of_answers(rows: QuestionSet) -> None:
    assert VisualQuestions(rows, TOKENS, None)[[2, 0]].keys() == {"image", "question", "text", "index"}


@pytest.mark.parametrize("change", [cut_in_half, Path.unlink])
def test_image_that_changed_after_it_was_checked_is_named(
    labeled: VisualQuestions, change: Callable[[Path], None]
) -> None:
    change(Path(str(labeled.rows.images[1])))
    with pytest.raises(InputError, match=r"^a\.csv:3: the image has changed since it was checked: .*Error: "):
        labeled[[0, 1]]


def test_images_in_a_column_are_decoded_as_those_in_files(rows: QuestionSet, labeled: VisualQuestions) -> None:
    cells = [{"image": {"bytes": Path(str(rows.images[k])).read_bytes(), "path": None}} for k in range(3)]
    column = datasets.Dataset.from_list(cells, datasets.Features(image=datasets.Image(decode=False)))
    same = QuestionSet(rows.name, rows.names, rows.questions, rows.answers, rows.ocr, ImageColumn(column))
    found = unpack_images(*VisualQuestions(same, TOKENS, None)[[0, 1, 2]]["image"])
    for one, other in zip(found, unpack_images(*labeled[[0, 1, 2]]["image"]), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_image_of_any_mode_has_three_channels(rows: QuestionSet, tmp_path: Path, mode: str) -> None:
    file = BytesIO()
    image = Image.fromarray(noise(0, 8, 9, 3))
    wide = Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257)
    of_mode = wide if mode == "I;16" else image.convert(mode)
    assert of_mode.mode == mode
    of_mode.save(file, "TIFF")
    (tmp_path / "1.png").write_bytes(file.getvalue())
    (found,) = unpack_images(*VisualQuestions(rows, TOKENS, None)[[1]]["image"])
    assert (found.dtype, found.shape) == (torch.uint8, (3, 8, 9))
