"""Masks are read as labels, and whole images and crops come with theirs."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.images.image_file import InvalidImageError
from datamodules.images.random_crop import RandomCrop
from datamodules.images.segmentation import Pair, TrainingCrops, WholeImages, read_mask
from tests.datamodules.images.masks import save_mask


def test_message_on_masks_in_colors_tells_how_to_get_the_labels_back(tmp_path: Path) -> None:
    labels = np.array([[*range(21), 255]] * 3, np.uint8)
    save_mask(tmp_path / "a good mask.png", labels)
    Image.open(tmp_path / "a good mask.png").convert("RGB").save(tmp_path / "mask.png")
    with pytest.raises(InvalidImageError, match="in Python, by: ") as error:
        read_mask(tmp_path / "mask.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        exec(str(error.value).partition("in Python, by: ")[2])
    assert np.array_equal(np.asarray(read_mask(tmp_path / "mask.png")), labels)


def test_message_on_masks_in_black_and_white_tells_how_to_get_labels(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 255, 255]], np.uint8)).convert("1").save(tmp_path / "mask.png")
    with pytest.raises(InvalidImageError, match="in Python, by: ") as error:
        read_mask(tmp_path / "mask.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        exec(str(error.value).partition("in Python, by: ")[2])
    assert np.asarray(read_mask(tmp_path / "mask.png")).tolist() == [[0, 1, 1]]


def test_crop_depends_on_seed_epoch_and_sample_alone(pair: Pair) -> None:
    crop = RandomCrop(24, color_jitter=0.5)
    dataset = TrainingCrops([pair] * 5, crop, (9, 9, 9), seed=1)
    batch, other = dataset[3, [4, 1]], dataset[3, [0, 1, 2]]
    assert all((batch[name][1] == other[name][1]).all() for name in batch)
    assert not (batch["image"][0] == batch["image"][1]).all()  # another sample
    assert not (dataset[4, [1]]["image"][0] == batch["image"][1]).all()  # another epoch
    seeded = TrainingCrops([pair] * 5, crop, (9, 9, 9), seed=2)
    assert not (seeded[3, [1]]["image"][0] == batch["image"][1]).all()
    assert ((batch["color"] >= 0.5) & (batch["color"] <= 1.5)).all()
    assert len(batch["color"].unique()) == 6


def test_whole_image_is_a_batch_of_one_with_its_mask(pair: Pair) -> None:
    batch = WholeImages([pair, Pair(pair.image, None)])[np.array([0])]
    assert pair.mask is not None
    assert np.array_equal(batch["image"][0].permute(1, 2, 0), np.asarray(Image.open(pair.image)))
    assert np.array_equal(batch["label"][0], np.asarray(read_mask(pair.mask)))
    assert batch["index"].tolist() == [0]
    assert "label" not in WholeImages([Pair(pair.image, None)])[np.array([0])]


def test_labels_of_padding_are_ignored(pair: Pair) -> None:
    batch = WholeImages([pair])[np.array([~0])]
    assert batch["index"].tolist() == [-1]
    assert (batch["label"] == 255).all()
    assert batch["image"].shape == (1, 3, 20, 30)
