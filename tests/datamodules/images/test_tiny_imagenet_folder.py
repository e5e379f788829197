"""The files of Tiny-ImageNet are read as they were published, and whatever is wrong with one is named with its line."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from datamodules.images.tiny_imagenet_folder import read_classes, read_train, read_val
from sextant.errors import InputError


@pytest.fixture
def root(tiny_imagenet: Path, tmp_path: Path) -> Path:
    """A copy of the data set that a test may damage."""
    return shutil.copytree(tiny_imagenet, tmp_path / "tiny-imagenet-200")


def train_of(root: Path) -> tuple[list[Path], list[int]]:
    return read_train(root, list(read_classes(root)))


def val_of(root: Path) -> tuple[list[Path], list[int]]:
    return read_val(root, list(read_classes(root)))


def annotations(root: Path) -> Path:
    return root / "val" / "val_annotations.txt"


def edit_line(file: Path, number: int, edit: Callable[[str], str]) -> str:
    """Change one line of a text file and return what it is then."""
    lines = file.read_text().splitlines()
    lines[number - 1] = edit(lines[number - 1])
    file.write_text("".join(f"{line}\n" for line in lines))
    return lines[number - 1]


# Classes


def test_classes_are_in_the_order_of_wnids_txt(root: Path) -> None:
    wnids = (root / "wnids.txt").read_text().split()
    (root / "wnids.txt").write_text("\n".join(reversed(wnids)))
    assert list(read_classes(root)) == wnids[::-1]
    files, labels = train_of(root)
    assert [labels[i] for i in (0, 7, 8)] == [0, 0, 1]
    assert files[0].parts[-3] == wnids[-1]


def test_name_of_a_class_is_all_that_follows_the_first_tab(root: Path) -> None:
    (root / "words.txt").write_text("n90000000\tgoldfish, Carassius auratus\nn90000001\ta\tb\tc\n")
    classes = read_classes(root)
    assert classes["n90000000"] == "goldfish, Carassius auratus"
    assert classes["n90000001"] == "a\tb\tc"


def test_class_without_a_name_is_called_by_its_id(root: Path) -> None:
    (root / "words.txt").write_text("n90000001\tsquare\nn90000000 no tab here\nn00000000\tnot a class of this set\n")
    classes = read_classes(root)
    assert classes["n90000000"] == "n90000000"
    assert classes["n90000001"] == "square"
    assert len(classes) == 10


@pytest.mark.parametrize("name", ["wnids.txt", "words.txt", "val/val_annotations.txt"])
def test_missing_text_file_is_named(root: Path, name: str) -> None:
    (root / name).unlink()
    with pytest.raises(InputError, match="there is no such file") as error:
        val_of(root)
    assert str(root / name) in str(error.value)
    assert "data.root" in str(error.value)


@pytest.mark.parametrize("name", ["wnids.txt", "words.txt", "val/val_annotations.txt"])
def test_text_file_that_is_not_utf8_is_named_with_the_byte(root: Path, name: str) -> None:
    content = bytearray((root / name).read_bytes())
    content[12] = 0xE9
    (root / name).write_bytes(content)
    with pytest.raises(InputError, match="not UTF-8 at byte 12") as error:
        val_of(root)
    assert str(root / name) in str(error.value)


def test_empty_list_of_classes_is_named(root: Path) -> None:
    (root / "wnids.txt").write_text("\n")
    with pytest.raises(InputError, match="the file is empty") as error:
        read_classes(root)
    assert str(root / "wnids.txt") in str(error.value)


@pytest.mark.parametrize(
    ("lines", "number"),
    [
        (["n90000000", "n90000001", "n90000000"], 3),
        (["n90000000", "", "n90000001", "n90000000"], 4),
    ],
)
def test_class_that_is_listed_twice_is_named_with_file_and_line(root: Path, lines: list[str], number: int) -> None:
    (root / "wnids.txt").write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(InputError, match="'n90000000' is listed twice") as error:
        read_classes(root)
    assert f"{root / 'wnids.txt'}:{number}: " in str(error.value)


@pytest.mark.parametrize("name", ["wnids.txt", "words.txt", "val/val_annotations.txt"])
def test_line_ends_of_windows_make_no_difference(root: Path, name: str) -> None:
    before = read_classes(root), val_of(root)
    (root / name).write_bytes((root / name).read_bytes().replace(b"\n", b"\r\n"))
    assert (read_classes(root), val_of(root)) == before


# Training images


def test_missing_folder_of_a_class_is_named(root: Path) -> None:
    shutil.rmtree(root / "train" / "n90000003")
    with pytest.raises(InputError, match="there is no such folder") as error:
        train_of(root)
    assert str(root / "train" / "n90000003" / "images") in str(error.value)
    assert "--data.root" in str(error.value)


def test_class_whose_name_no_folder_can_have_is_named(root: Path) -> None:
    (root / "wnids.txt").write_text("n" * 5000)
    with pytest.raises(InputError, match=r"there is no such folder .*File name too long"):
        train_of(root)


def test_empty_folder_of_a_class_is_named(root: Path) -> None:
    images = root / "train" / "n90000003" / "images"
    shutil.rmtree(images)
    images.mkdir()
    (images / "readme.txt").write_text("no image")
    with pytest.raises(InputError, match="holds no image") as error:
        train_of(root)
    assert str(images) in str(error.value)


def test_training_images_have_the_label_of_their_folder(root: Path) -> None:
    classes = list(read_classes(root))
    files, labels = train_of(root)
    assert [classes[label] for label in labels] == [file.parts[-3] for file in files]
    assert [labels.count(label) for label in range(10)] == [8] * 10


# Validation images


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (lambda line: line.replace("\t", " "), "1 fields instead of 6"),
        (lambda line: line.rpartition("\t")[0], "5 fields instead of 6"),
        (lambda line: line + "\t0", "7 fields instead of 6"),
    ],
)
@pytest.mark.parametrize("number", [1, 17, 40])
def test_malformed_annotation_is_named_with_file_and_line(
    root: Path, edit: Callable[[str], str], complaint: str, number: int
) -> None:
    line = edit_line(annotations(root), number, edit)
    with pytest.raises(InputError) as error:
        val_of(root)
    message = str(error.value)
    assert message.startswith(f"{annotations(root)}:{number}: ")
    assert complaint in message
    assert repr(line) in message
    assert "--data.download=true" in message


@pytest.mark.parametrize("number", [1, 17])
def test_blank_line_among_the_annotations_is_named(root: Path, number: int) -> None:
    edit_line(annotations(root), number, lambda line: "")
    with pytest.raises(InputError, match="the line is blank, but each line is an image") as error:
        val_of(root)
    assert str(error.value).startswith(f"{annotations(root)}:{number}: ")


@pytest.mark.parametrize("name", ["wnids.txt", "words.txt", "val/val_annotations.txt"])
@pytest.mark.parametrize(
    "written", [lambda t: b"\xef\xbb\xbf" + t, lambda t: t.replace(b"\n", b"\r"), lambda t: t + b"\n\n"]
)
def test_byte_order_mark_other_line_ends_and_blank_last_lines_make_no_difference(
    root: Path, name: str, written: Callable[[bytes], bytes]
) -> None:
    before = read_classes(root), val_of(root)
    (root / name).write_bytes(written((root / name).read_bytes()))
    assert (read_classes(root), val_of(root)) == before


def test_annotation_of_unknown_class_is_named_with_file_and_line(root: Path) -> None:
    line = edit_line(annotations(root), 23, lambda line: re.sub("n9000....", "n0144388", line))
    with pytest.raises(InputError, match=r"class 'n0144388' is not in wnids\.txt") as error:
        val_of(root)
    assert str(error.value).startswith(f"{annotations(root)}:23: ")
    assert repr(line) in str(error.value)


def test_annotation_of_missing_image_is_named_with_file_and_line(root: Path) -> None:
    image = root / "val" / "images" / annotations(root).read_text().splitlines()[22].split("\t")[0]
    image.unlink()
    with pytest.raises(InputError, match="there is no image") as error:
        val_of(root)
    assert str(error.value).startswith(f"{annotations(root)}:23: ")
    assert str(image) in str(error.value)


def test_missing_folder_of_validation_images_is_named(root: Path) -> None:
    shutil.rmtree(root / "val" / "images")
    with pytest.raises(InputError, match="there is no image") as error:
        val_of(root)
    assert str(root / "val" / "images") in str(error.value)


def test_empty_annotations_are_named(root: Path) -> None:
    annotations(root).write_text("")
    with pytest.raises(InputError, match="the file is empty") as error:
        val_of(root)
    assert str(annotations(root)) in str(error.value)


def test_validation_labels_come_from_the_annotations(root: Path) -> None:
    lines = [line.split("\t") for line in annotations(root).read_text().splitlines()]
    wnids = (root / "wnids.txt").read_text().split()
    # Other classes than the images show, in another order than that of the names.
    lines = [[line[0], wnids[(7 * k + 3) % 10], *line[2:]] for k, line in enumerate(reversed(lines))]
    annotations(root).write_text("".join("\t".join(line) + "\n" for line in lines))
    files, labels = val_of(root)
    assert labels == [(7 * k + 3) % 10 for k in range(40)]
    assert files == [root / "val" / "images" / line[0] for line in lines]


def test_images_without_annotation_are_no_validation_images(root: Path) -> None:
    lines = annotations(root).read_text().splitlines()
    annotations(root).write_text("\n".join(lines[:30]))
    assert len(val_of(root)[0]) == 30
