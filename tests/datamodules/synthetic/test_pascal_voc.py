"""The synthetic set has Pascal VOC's layout, and its shapes can be told apart."""

import colorsys
from pathlib import Path

import numpy as np
from PIL import Image

from datamodules.images.mask_checks import check_pairs
from datamodules.images.segmentation import Pair
from datamodules.images.voc_palette import voc_palette
from datamodules.synthetic.pascal_voc import SHAPES, make


def test_every_name_of_a_list_has_an_image_and_a_palette_mask(pascal_voc: Path) -> None:
    for split, count in {"train": 20, "val": 3}.items():
        names = (pascal_voc / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().split()
        assert len(names) == count
        for name in names:
            mask = pascal_voc / "SegmentationClass" / f"{name}.png"
            assert not check_pairs([Pair(pascal_voc / "JPEGImages" / f"{name}.jpg", mask)], len(SHAPES) + 1).invalid
            with Image.open(mask) as opened:
                assert opened.mode == "P"
                palette = opened.getpalette()
                assert palette is not None
                assert palette[: 3 * 5] == voc_palette()[:5].ravel().tolist()


def test_all_classes_occur_and_shapes_have_borders_that_are_ignored(pascal_voc: Path) -> None:
    masks = [np.asarray(Image.open(file)) for file in (pascal_voc / "SegmentationClass").iterdir()]
    assert set(np.concatenate([mask.ravel() for mask in masks]).tolist()) == {*range(len(SHAPES) + 1), 255}
    for mask in masks:
        background, shape = mask == 0, (mask != 0) & (mask != 255)
        assert not (background[:, 1:] & shape[:, :-1]).any()
        assert not (background[1:] & shape[:-1]).any()


def test_color_tells_the_shapes(pascal_voc: Path) -> None:
    hues = [hue for _, hue in SHAPES.values()]
    right = total = 0
    for file in (pascal_voc / "SegmentationClass").iterdir():
        mask = np.asarray(Image.open(file))
        image = np.asarray(Image.open(pascal_voc / "JPEGImages" / f"{file.stem}.jpg")) / 255
        for label in set(np.unique(mask)) - {0, 255}:
            hue = colorsys.rgb_to_hsv(*image[mask == label].mean(0))[0]
            distances = [min(abs(hue - other), 1 - abs(hue - other)) for other in hues]
            right += int(np.argmin(distances)) + 1 == label
            total += 1
    assert right == total > 20


def test_same_seed_gives_the_same_files_and_another_one_others(tmp_path: Path) -> None:
    contents = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        make(tmp_path / name, train=2, val=1, sides=(40, 44), seed=seed)
        contents.append([file.read_bytes() for file in sorted((tmp_path / name).rglob("*.png"))])
    assert contents[0] == contents[1] != contents[2]
