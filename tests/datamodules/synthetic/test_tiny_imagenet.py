"""The synthetic set looks on disk as Tiny-ImageNet does."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.images.tiny_imagenet_folder import read_classes, read_train, read_val
from datamodules.synthetic import tiny_imagenet as synthetic_set
from tests.filesystem import listing, snapshot


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in listing(folder) if (folder / name).is_file()}


def test_synthetic_set_has_ten_classes_with_names(tiny_imagenet: Path) -> None:
    wnids = (tiny_imagenet / "wnids.txt").read_text().splitlines()
    assert len(wnids) == len(set(wnids)) == 10
    words = dict(line.split("\t") for line in (tiny_imagenet / "words.txt").read_text().splitlines())
    assert list(words) == wnids
    assert len(set(words.values())) == 10


def test_synthetic_set_is_in_the_layout_of_the_published_one(tiny_imagenet: Path) -> None:
    wnids = (tiny_imagenet / "wnids.txt").read_text().splitlines()
    expected = {"wnids.txt", "words.txt", "val/val_annotations.txt"}
    expected |= {f"train/{wnid}/{wnid}_boxes.txt" for wnid in wnids}
    expected |= {f"train/{wnid}/images/{wnid}_{k}.JPEG" for wnid in wnids for k in range(8)}
    expected |= {f"val/images/val_{k}.JPEG" for k in range(40)}
    expected |= {f"test/images/test_{k}.JPEG" for k in range(20)}
    assert contents(tiny_imagenet).keys() == expected


def test_boxes_of_the_synthetic_set_lie_within_their_images(tiny_imagenet: Path) -> None:
    lines = (tiny_imagenet / "val" / "val_annotations.txt").read_text().splitlines()
    boxes = [line.split("\t")[2:] for line in lines]
    for file in tiny_imagenet.glob("train/*/*_boxes.txt"):
        lines = file.read_text().splitlines()
        assert [line.split("\t")[0] for line in lines] == [f"{file.parent.name}_{k}.JPEG" for k in range(8)]
        boxes += [line.split("\t")[1:] for line in lines]
    assert len(boxes) == 120
    for x0, y0, x1, y1 in (map(int, box) for box in boxes):
        assert 0 <= x0 < x1 < synthetic_set.SIZE
        assert 0 <= y0 < y1 < synthetic_set.SIZE


def test_images_of_the_synthetic_set_are_jpeg_of_64_pixels_and_some_are_gray(tiny_imagenet: Path) -> None:
    modes = []
    for file in tiny_imagenet.rglob("*.JPEG"):
        with Image.open(file) as image:
            image.load()
            assert image.format == "JPEG"
            assert image.size == (64, 64)
            modes.append(image.mode)
    assert set(modes) == {"RGB", "L"}
    assert modes.count("L") < 0.2 * len(modes)


def test_splits_of_the_synthetic_set_hold_each_class_equally_often_and_share_no_image(tiny_imagenet: Path) -> None:
    wnids = list(read_classes(tiny_imagenet))
    _, train = read_train(tiny_imagenet, wnids)
    _, val = read_val(tiny_imagenet, wnids)
    assert np.bincount(train).tolist() == [8] * 10
    assert np.bincount(val).tolist() == [4] * 10
    assert val != sorted(val)
    images = [content for name, content in contents(tiny_imagenet).items() if name.endswith(".JPEG")]
    assert len(set(images)) == len(images) == 140


@pytest.mark.parametrize("name", list(synthetic_set.OUTLINES))
def test_shape_stands_out_from_its_background(tmp_path: Path, name: str) -> None:
    random = np.random.default_rng(0)
    for k in range(20):
        x0, y0, x1, y1 = synthetic_set.draw(random, name, tmp_path / f"{k}.JPEG")
        with Image.open(tmp_path / f"{k}.JPEG") as image:
            gray = np.asarray(image.convert("L"), np.float32)
        outside = np.ones((64, 64), bool)
        outside[max(y0 - 2, 0) : y1 + 3, max(x0 - 2, 0) : x1 + 3] = False
        background = gray[outside].mean()
        assert gray[outside].std() < 25, "something is drawn outside of the box"
        fraction = (abs(gray[y0 : y1 + 1, x0 : x1 + 1] - background) > 25).mean()
        assert 0.15 < fraction < 0.95, "nothing is drawn in the box, or it is filled"


def test_same_seed_gives_the_same_synthetic_set_and_another_seed_another(tmp_path: Path) -> None:
    for name, seed in (("first", 1), ("second", 1), ("other", 2)):
        synthetic_set.make(tmp_path / name, train=2, val=1, test=1, seed=seed)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    assert contents(tmp_path / "first") != contents(tmp_path / "other")


def test_synthetic_set_that_is_there_is_left_alone(tmp_path: Path) -> None:
    synthetic_set.make(tmp_path / "data", train=2, val=1, test=1, seed=1)
    before = snapshot(tmp_path / "data")
    synthetic_set.make(tmp_path / "data", train=3, val=2, test=2, seed=2)
    assert snapshot(tmp_path / "data") == before
