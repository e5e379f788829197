"""The folder that may be meant in place of a root."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from datamodules.criteo import Criteo
from datamodules.images.tiny_imagenet_folder import read_classes
from datamodules.images.voc_folder import read_list
from datamodules.sources.near_root import near_root
from datamodules.speech.corpus import read_subset
from datamodules.text.sources import TextFiles
from datamodules.text.token_stream import TokenStreams
from datamodules.vqa.annotations import read_split
from sextant.errors import InputError


@pytest.fixture
def right(tmp_path: Path) -> Path:
    folder = tmp_path / "a" / "set"
    (folder / "sub").mkdir(parents=True)
    (folder / "list.txt").touch()
    return folder


@pytest.mark.parametrize("given", ["", "a", "a/set/sub", "a/set/sub/none", "a/sett"])
def test_folder_two_levels_within_or_around_or_beside_is_named(right: Path, tmp_path: Path, given: str) -> None:
    assert near_root(tmp_path / given, "*.none", "list.t*") == f" Did you mean --data.root={right}?"


@pytest.mark.parametrize("given", ["b", "a/none/none/none"])
def test_nothing_is_named_where_nothing_fits(right: Path, tmp_path: Path, given: str) -> None:
    assert near_root(tmp_path / given, "other.txt") == ""
    assert near_root(tmp_path / given, "/list.txt") == ""  # no name


READERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "Tiny-ImageNet": (read_classes, "wnids.txt"),
    "VOC": (lambda root: read_list(root / "ImageSets" / "Segmentation" / "train.txt", root, None), "JPEGImages/a.jpg"),
    "speech": (lambda root: read_subset(root / "dev", root / "cache", 16000, 1, "error"), "dev/a.trans.txt"),
    "text": (lambda root: TokenStreams(TextFiles(root), root / "cache"), "train.txt"),
    "questions": (lambda root: read_split(root, "train", labeled=True), "train.jsonl"),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("given", ["", "set/sub"])
def test_data_whose_root_is_one_level_too_high_or_low_is_found(tmp_path: Path, name: str, given: str) -> None:
    read, file = READERS[name]
    (tmp_path / "set" / "sub").mkdir(parents=True)
    (tmp_path / "set" / file).parent.mkdir(exist_ok=True)
    (tmp_path / "set" / file).touch()
    with pytest.raises(InputError, match=rf"Did you mean --data\.root={re.escape(str(tmp_path / 'set'))}\?"):
        read(tmp_path / given)


@pytest.mark.parametrize("given", ["", "set/sub"])
def test_click_logs_whose_root_is_one_level_too_high_or_low_are_found(tmp_path: Path, given: str) -> None:
    (tmp_path / "set" / "sub").mkdir(parents=True)
    (tmp_path / "set" / "train.txt").touch()
    data = Criteo(root=str(tmp_path / given), cache=str(tmp_path / "cache"))
    with pytest.raises(InputError, match=rf"Did you mean --data\.root={re.escape(str(tmp_path / 'set'))}\?"):
        data.setup("fit")
