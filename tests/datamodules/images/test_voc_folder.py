"""Lists and classes of a folder like Pascal VOC's are understood in every usual form, and what is wrong is named."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from datamodules.images.voc_folder import find_images, read_classes, read_list
from sextant.errors import InputError


@pytest.fixture
def root(pascal_voc: Path, tmp_path: Path) -> Path:
    """A copy of the data set that a test may damage."""
    return shutil.copytree(pascal_voc, tmp_path / "VOC2012")


def lists(root: Path) -> Path:
    return root / "ImageSets" / "Segmentation"


def test_list_that_names_missing_files_is_refused_with_lines_and_paths(root: Path) -> None:
    with (lists(root) / "train.txt").open("a") as file:
        file.write("no_such_image\n")
    first = (lists(root) / "train.txt").read_text().split()[0]
    (root / "SegmentationClass" / f"{first}.png").unlink()
    with pytest.raises(InputError) as error:
        read_list(lists(root) / "train.txt", root, "SegmentationClass")
    message = str(error.value)
    assert f"{lists(root) / 'train.txt'}: 3 of the files that it names are missing" in message
    assert f"line 1: {root / 'SegmentationClass' / first}" in message
    assert f"line 21: {root / 'JPEGImages' / 'no_such_image'}" in message


def rename(root: Path, old: str, new: str) -> None:
    (root / "JPEGImages" / f"{old}.jpg").rename(root / "JPEGImages" / f"{new}.jpg")
    (root / "SegmentationClass" / f"{old}.png").rename(root / "SegmentationClass" / f"{new}.png")


def test_names_with_dots_and_spaces_and_lines_with_two_paths_are_understood(root: Path) -> None:
    file = root / "ImageSets" / "Segmentation" / "val.txt"
    old = file.read_text().split()
    for name, new in zip(old, ("v1.0_a", "v1.1_b", "my photo"), strict=True):
        rename(root, name, new)
    lines = ["v1.0_a", "/JPEGImages/v1.1_b.jpg /SegmentationClass/v1.1_b.png", "my photo"]
    file.write_text("\ufeff" + "\r\n".join(lines))
    pairs = read_list(file, root, "SegmentationClass")
    assert [pair.image.name for pair in pairs] == ["v1.0_a.jpg", "v1.1_b.jpg", "my photo.jpg"]
    assert [pair.mask and pair.mask.name for pair in pairs] == ["v1.0_a.png", "v1.1_b.png", "my photo.png"]


def test_name_that_is_listed_twice_is_refused(root: Path) -> None:
    file = root / "ImageSets" / "Segmentation" / "val.txt"
    first = file.read_text().split()[0]
    file.write_text(file.read_text() + f"{first}\n")
    with pytest.raises(InputError, match=rf"val.txt:4: {first} is there already, in line 1"):
        read_list(file, root, None)


def test_only_images_and_png_masks_count_and_two_of_a_name_are_refused(root: Path) -> None:
    file = root / "ImageSets" / "Segmentation" / "val.txt"
    first = file.read_text().split()[0]
    for other in (root / "JPEGImages" / f"{first}.xml", root / "SegmentationClass" / f"{first}.jpg"):
        other.write_text("something else")
    pair = read_list(file, root, "SegmentationClass")[0]
    assert (pair.image.name, pair.mask and pair.mask.name) == (f"{first}.jpg", f"{first}.png")
    (root / "JPEGImages" / f"{first}.png").write_text("something else")
    with pytest.raises(InputError, match=f"{first}.png: {first}.jpg has the same name"):
        read_list(file, root, "SegmentationClass")


@pytest.mark.parametrize("suffix", ["jfif", "jpe", "webp", "heic"])
def test_image_of_any_suffix_is_found(root: Path, suffix: str) -> None:
    """Whether it can be read is checked with all others."""
    first = (lists(root) / "val.txt").read_text().split()[0]
    file = root / "JPEGImages" / f"{first}.jpg"
    file.rename(file.with_suffix(f".{suffix}"))
    assert read_list(lists(root) / "val.txt", root, "SegmentationClass")[0].image == file.with_suffix(f".{suffix}")


@pytest.mark.parametrize("written", [lambda t: "\ufeff" + t, lambda t: t.replace("\n", "\r"), lambda t: t + "\n \n"])
def test_byte_order_mark_other_line_ends_and_blank_last_lines_of_a_list_make_no_difference(
    root: Path, written: Callable[[str], str]
) -> None:
    file = lists(root) / "train.txt"
    before = read_list(file, root, None)
    file.write_bytes(written(file.read_text()).encode())
    assert read_list(file, root, None) == before


def test_blank_line_among_the_images_of_a_list_is_named(root: Path) -> None:
    file = lists(root) / "train.txt"
    file.write_text(file.read_text().replace("\n", "\n\n", 1))
    with pytest.raises(InputError, match=r"train\.txt:2: the line is blank, but each line is an image"):
        read_list(file, root, None)


def test_line_of_a_separator_alone_is_a_missing_image(root: Path) -> None:
    file = lists(root) / "train.txt"
    file.write_text(file.read_text() + "\u2028\n")
    with pytest.raises(InputError, match="line 21: "):
        read_list(file, root, None)


def test_name_with_a_dot_that_looks_like_a_suffix_is_understood(root: Path) -> None:
    first = (lists(root) / "val.txt").read_text().split()[0]
    rename(root, first, "scan.raw")
    (lists(root) / "val.txt").write_text("scan.raw\n")
    assert [pair.image.name for pair in read_list(lists(root) / "val.txt", root, None)] == ["scan.raw.jpg"]


def test_empty_list_is_named(root: Path) -> None:
    (lists(root) / "val.txt").write_text("\n")
    with pytest.raises(InputError, match=r"val\.txt: the list is empty"):
        read_list(lists(root) / "val.txt", root, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a\nb\na\n", "class 'a' is named twice"), ("a\n", "it names 1 classes"), ("", "it names 0 classes")],
)
def test_file_of_classes_that_makes_no_sense_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        read_classes(tmp_path / "classes.txt")


def test_images_of_the_same_name_with_other_suffixes_are_refused(tmp_path: Path) -> None:
    for suffix in ("jpg", "png"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"a.{suffix}")
    with pytest.raises(InputError, match=r"a\.png: a\.jpg has the same name but for the suffix"):
        find_images(tmp_path)


def test_missing_list_is_named_with_those_that_are_there(root: Path) -> None:
    with pytest.raises(InputError, match=r"other\.txt: there is no such list\. There are train, val") as error:
        read_list(lists(root) / "other.txt", root, None)
    assert "--data.lists.train" in str(error.value)
