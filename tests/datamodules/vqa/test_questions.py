"""Questions that cannot be used are found once, named, and left out if they may be."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
from PIL import Image

from datamodules.vqa import questions as question_set
from datamodules.vqa.questions import ImageColumn, ImageFiles, Images, QuestionSet, cached_invalid_images
from sextant.errors import InputError
from tests.filesystem import cut_in_half, listing, snapshot
from tests.noise_images import save_images

COUNT = 6
NAME = "questions.csv"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return save_images(tmp_path / "images", COUNT, "png")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[Path | bytes]:
    """The images that are decoded."""
    found: list[Path | bytes] = []
    read = question_set.read_image

    def note(source: Path | bytes) -> Image.Image:
        found.append(source)
        return read(source)

    monkeypatch.setattr(question_set, "read_image", note)
    return found


def column_of(files: list[Path | None], as_paths: bool = False) -> ImageColumn:
    """The same images in a column of a data set."""
    cells = [
        file and {"bytes": None if as_paths else file.read_bytes(), "path": str(file) if as_paths else None}
        for file in files
    ]
    rows = datasets.Dataset.from_list(
        [{"image": cell} for cell in cells], datasets.Features(image=datasets.Image(decode=False))
    )
    return ImageColumn(rows)


def questions_of(images: Images, **changes: Any) -> QuestionSet:
    count = len(images)
    fields: dict[str, Any] = {
        "name": NAME,
        "names": [f"questions.csv:{k + 2}" for k in range(count)],
        "questions": [f"Question {k}?" for k in range(count)],
        "answers": [[f"answer {k}"] for k in range(count)],
        "ocr": [[f"word {k}"] for k in range(count)],
        "images": images,
    }
    return QuestionSet(**(fields | changes))


@pytest.mark.parametrize("kind", ["files", "bytes", "paths"])
@pytest.mark.parametrize("invalid_samples", ["error", "skip"])
@pytest.mark.filterwarnings("error")
def test_questions_that_can_all_be_used_are_what_they_were(
    files: list[Path], cache: Path, kind: str, invalid_samples: Any
) -> None:
    images = ImageFiles(files) if kind == "files" else column_of([*files], as_paths=kind == "paths")
    rows = questions_of(images)
    assert rows.valid(cache, labeled=True, invalid_samples=invalid_samples) is rows


def damaged(files: list[Path]) -> QuestionSet:
    """Questions of which the first, third, fifth and last cannot be used, each for a reason of its own."""
    files[0].unlink()
    cut_in_half(files[2])
    questions = [f"Question {k}?" for k in range(COUNT)]
    questions[4] = " \t"
    answers: list[list[str]] = [[f"answer {k}"] for k in range(COUNT)]
    answers[5] = []
    return questions_of(ImageFiles(files), questions=questions, answers=answers)


def test_questions_that_cannot_be_used_are_named_with_the_reason(files: list[Path], cache: Path) -> None:
    rows = damaged(files)
    with pytest.raises(InputError, match=r"4 of 6 questions of questions\.csv cannot be used:\n") as error:
        rows.valid(cache, labeled=True, invalid_samples="error")
    lines = str(error.value).split("\n")
    assert lines[1] == f"  questions.csv:2: there is no image {files[0]}"
    assert lines[2].startswith(f"  questions.csv:4: the image {files[2]} cannot be read: ")
    assert "truncated" in lines[2]
    assert lines[3] == "  questions.csv:6: the question is empty"
    assert lines[4] == "  questions.csv:7: there is no answer to the question"
    assert "--data.invalid_samples=skip" in lines[5]


@pytest.mark.parametrize(("labeled", "left"), [(True, [1, 3]), (False, [1, 3, 5])])
def test_questions_that_cannot_be_used_are_left_out_with_a_warning_and_the_rest_stays_together(
    files: list[Path], cache: Path, labeled: bool, left: list[int]
) -> None:
    rows = damaged(files)
    with pytest.warns(UserWarning, match=f"{COUNT - len(left)} of 6 questions .*(?s:.*)They are left out"):
        used = rows.valid(cache, labeled=labeled, invalid_samples="skip")
    assert len(used) == len(used.images) == len(left)
    assert used.names == [rows.names[k] for k in left]
    assert used.questions == [rows.questions[k] for k in left]
    assert used.answers == [rows.answers[k] for k in left]
    assert used.ocr == [rows.ocr[k] for k in left]
    assert [used.images[k] for k in range(len(left))] == [files[k] for k in left]


def test_images_of_a_column_stay_with_their_questions_when_others_are_left_out(files: list[Path], cache: Path) -> None:
    contents = [file.read_bytes() for file in files]
    cut_in_half(files[1])
    rows = questions_of(column_of([None, *files[1:]]))
    with pytest.warns(UserWarning, match="2 of 6 questions") as warned:
        used = rows.valid(cache, labeled=True, invalid_samples="skip")
    assert "questions.csv:2: there is no image\n" in str(warned[0].message)
    assert "questions.csv:3: image: OSError: " in str(warned[0].message)
    assert [used.images[k] for k in range(4)] == contents[2:]


@pytest.mark.filterwarnings("ignore:.*cannot be used")
def test_error_when_no_question_can_be_used_even_if_they_may_be_left_out(files: list[Path], cache: Path) -> None:
    rows = questions_of(ImageFiles(files), questions=[""] * COUNT)
    with pytest.raises(InputError, match=r"questions\.csv: none of its 6 questions can be used"):
        rows.valid(cache, labeled=True, invalid_samples="skip")


def test_rows_are_found_by_their_image_file_or_else_by_their_place(files: list[Path]) -> None:
    assert questions_of(ImageFiles(files)).source(3) == str(files[3])
    assert questions_of(column_of([*files])).source(3) == "questions.csv:5"


# What is known of images


@pytest.mark.parametrize("kind", ["files", "column"])
def test_images_are_not_decoded_again_while_they_are_the_same(
    files: list[Path], cache: Path, checked: list[Path | bytes], kind: str
) -> None:
    files[3].write_text("not an image")
    images = ImageFiles(files) if kind == "files" else column_of([*files])
    found = cached_invalid_images(NAME, images, cache)
    assert list(found) == [3]
    assert len(checked) == COUNT
    again = ImageFiles(files) if kind == "files" else column_of([*files])
    assert cached_invalid_images(NAME, again, cache) == found
    assert len(checked) == COUNT


def repair(files: list[Path]) -> list[Path]:
    shutil.copy(files[0], files[3])
    return files


def damage(files: list[Path]) -> list[Path]:
    cut_in_half(files[1])
    return files


def remove(files: list[Path]) -> list[Path]:
    files[5].unlink()
    return files


def ask_in_another_order(files: list[Path]) -> list[Path]:
    return files[::-1]


def touch(files: list[Path]) -> list[Path]:
    os.utime(files[2], ns=(0, 0))
    return files


@pytest.mark.parametrize(
    ("change", "faults"),
    [(repair, []), (damage, [1, 3]), (remove, [3, 5]), (ask_in_another_order, [2]), (touch, [3])],
)
def test_images_are_checked_anew_when_they_change_and_what_was_known_is_deleted(
    files: list[Path], cache: Path, change: Callable[[list[Path]], list[Path]], faults: list[int]
) -> None:
    files[3].write_text("not an image")
    assert list(cached_invalid_images(NAME, ImageFiles(files), cache)) == [3]
    before = listing(cache)
    assert list(cached_invalid_images(NAME, ImageFiles(change(files)), cache)) == faults
    assert len(listing(cache)) == len(before)
    assert listing(cache) != before


def test_column_that_changes_is_checked_anew(files: list[Path], cache: Path) -> None:
    assert cached_invalid_images(NAME, column_of([*files]), cache) == {}
    cut_in_half(files[1])
    assert list(cached_invalid_images(NAME, column_of([*files]), cache)) == [1]


@pytest.mark.parametrize("kind", ["files", "column"])
def test_what_is_known_of_other_questions_is_kept_also_if_their_images_are_in_the_same_folder(
    files: list[Path], cache: Path, checked: list[Path | bytes], kind: str
) -> None:
    for _ in range(2):
        for name, some in (("train.csv", files[:4]), ("val.csv", files[2:])):
            images = ImageFiles(some) if kind == "files" else column_of([*some])
            assert cached_invalid_images(name, images, cache) == {}
    assert len(checked) == 4 + COUNT - 2


def test_same_images_named_in_another_way_are_not_checked_again(
    files: list[Path], cache: Path, checked: list[Path | bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    cached_invalid_images(NAME, ImageFiles(files), cache)
    monkeypatch.chdir(files[0].parent.parent)
    cached_invalid_images(NAME, ImageFiles([Path("images") / file.name for file in files]), cache)
    assert len(checked) == COUNT


def test_nothing_is_written_beside_the_images(files: list[Path], cache: Path) -> None:
    before = snapshot(files[0].parent)
    questions_of(ImageFiles(files)).valid(cache, labeled=True, invalid_samples="error")
    assert snapshot(files[0].parent) == before


def test_images_of_several_folders_are_one_set(tmp_path: Path, cache: Path) -> None:
    files = save_images(tmp_path / "a", 2) + save_images(tmp_path / "b" / "c", 2)
    images = ImageFiles(files)
    cut_in_half(files[3])
    assert list(cached_invalid_images(NAME, images, cache)) == [3]
    assert [images.select([3, 0])[k] for k in (0, 1)] == [files[3], files[0]]


def test_split_without_any_answer_is_said_to_have_none(files: list[Path], cache: Path) -> None:
    rows = questions_of(ImageFiles(files), answers=[[] for _ in files])
    with pytest.raises(InputError, match="none of its questions has an answer"):
        rows.valid(cache, labeled=True, invalid_samples="skip")
    assert rows.valid(None, labeled=False, invalid_samples="error") is rows
    assert not cache.exists()


def test_file_that_several_questions_share_is_decoded_once_and_named_for_each(
    files: list[Path], cache: Path, checked: list[Path | bytes]
) -> None:
    cut_in_half(files[1])
    shared = ImageFiles([files[0], files[1], files[0], files[1], files[2]])
    found = cached_invalid_images(NAME, shared, cache)
    assert sorted(map(str, checked)) == sorted(map(str, files[:3]))
    assert list(found) == [1, 3]
    assert str(files[1]) in found[1] == found[3]
