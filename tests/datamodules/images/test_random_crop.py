"""Random crops show the same part of an image and of its mask."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datamodules.images.random_crop import RandomCrop
from datamodules.images.segmentation import Pair, TrainingCrops, read_mask
from sextant.errors import InputError
from tests.datamodules.images.masks import save_mask
from tests.noise_images import noise


def crops(pair: Pair, epochs: int, **settings: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Image (S, S, 3) and mask (S, S) of the pair in some epochs."""
    dataset = TrainingCrops([pair], RandomCrop(**{"crop_size": 24} | settings), (9, 9, 9), seed=0)
    for epoch in range(epochs):
        batch = dataset[epoch, [0]]
        yield batch["image"][0].permute(1, 2, 0).numpy(), batch["label"][0].numpy()


def test_crop_without_scaling_is_a_part_of_the_image_and_the_same_part_of_its_mask(pair: Pair) -> None:
    assert pair.mask is not None
    whole = np.asarray(Image.open(pair.image))
    labels = np.asarray(read_mask(pair.mask))
    seen = set()
    for image, label in crops(pair, 60, crop_size=10, scales=(1.0, 1.0)):
        found = [
            (row, column, mirrored)
            for mirrored in (False, True)
            for row in range(11)
            for column in range(21)
            for part in [whole[row : row + 10, column : column + 10]]
            for turned in [part[:, ::-1] if mirrored else part]
            for mask in [labels[row : row + 10, column : column + 10]]
            if np.array_equal(turned, image) and np.array_equal(mask[:, ::-1] if mirrored else mask, label)
        ]
        assert found
        seen.add(found[0])
    assert len(seen) > 20
    assert {mirrored for _, _, mirrored in seen} == {False, True}


@pytest.mark.parametrize(("crop_size", "rows", "columns"), [(19, 2, 12), (31, 12, 2)])
def test_crops_are_at_every_place_up_to_the_edges(pair: Pair, crop_size: int, rows: int, columns: int) -> None:
    """Of an image of 20 x 30 pixels that is larger in both directions, and of one that is smaller."""
    assert pair.mask is not None
    places = np.arange(600, dtype=np.uint16).reshape(20, 30)
    pixels = np.stack([places // 256, places % 256, places * 0], 2).astype(np.uint8)
    Image.fromarray(pixels).save(pair.image.with_suffix(".png"))
    changed = pair._replace(image=pair.image.with_suffix(".png"))
    seen = set()
    for image, _ in crops(changed, 200, crop_size=crop_size, scales=(1.0, 1.0), flip=False):
        inside = np.argwhere(~(image == 9).all(-1)) if crop_size > 30 else np.zeros((1, 2), int)
        row, column = inside[0]
        place = image[row, column].astype(int) @ [256, 1, 0]
        seen.add((row - place // 30, column - place % 30))
    assert {abs(row) for row, _ in seen} == set(range(rows))
    assert {abs(column) for _, column in seen} == set(range(columns))


def test_scaled_crops_of_image_and_mask_stay_together(pair: Pair) -> None:
    agreeing = []
    for image, label in crops(pair, 40):
        outside = (image == 9).all(-1)
        assert (label[outside] == 255).all()
        inside = label != 255
        near = np.abs(image[..., 0] / 40 - label) < 0.51  # smooth borders between the labels
        agreeing.append(near[inside].mean())
    assert min(agreeing) > 0.85
    assert np.mean(agreeing) > 0.95


@pytest.mark.parametrize("mode", ["L", "P"])
def test_scaled_crops_of_masks_have_labels_of_the_mask_alone(pair: Pair, mode: str) -> None:
    """Pillow never mixes the indices of a palette, but the gray levels between two labels are other labels."""
    assert pair.mask is not None
    labels = np.where(np.indices((20, 30)).sum(0) % 12 < 6, 0, 200).astype(np.uint8)
    labels[:3] = 255
    if mode == "L":
        Image.fromarray(labels).save(pair.mask)
    else:
        save_mask(pair.mask, labels)
    assert read_mask(pair.mask).mode == mode
    seen: set[int] = set()
    for _, label in crops(pair, 30, scales=(0.5, 2.0)):
        seen |= set(label.ravel().tolist())
    assert seen == {0, 200, 255}


def test_crop_is_the_same_part_of_the_whole_resized_image(tmp_path: Path) -> None:
    image = Image.fromarray(noise(0, 50, 70, 3))
    mask = Image.fromarray(np.zeros((50, 70), np.uint8))
    for seed in range(5):
        crop = RandomCrop(crop_size=32, scales=(0.8, 1.9), flip=False)
        filled, label = np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32), np.uint8)
        crop(np.random.default_rng(seed), image, mask, filled, label)
        factor = np.random.default_rng(seed).uniform(0.8, 1.9)
        whole = np.asarray(image.resize((round(70 * factor), round(50 * factor)), Image.Resampling.BILINEAR))
        distances = [
            np.abs(whole[r : r + 32, c : c + 32].astype(int) - filled).max()
            for r in range(whole.shape[0] - 31)
            for c in range(whole.shape[1] - 31)
        ]
        assert min(distances) <= 2  # rounding, of positions too


def test_small_images_are_whole_in_the_crop_at_a_random_position(pair: Pair) -> None:
    corners = set()
    for image, label in crops(pair, 30, crop_size=40, scales=(1.0, 1.0), flip=False):
        rows, columns = np.nonzero((image != 9).any(-1))
        assert (np.ptp(rows), np.ptp(columns)) == (19, 29)
        assert (label != 255).sum() == 20 * 30 - 1
        corners.add((rows.min(), columns.min()))
    assert len(corners) > 20


def test_scales_are_spread_over_their_range(pair: Pair) -> None:
    sides = []
    for image, _ in crops(pair, 200, crop_size=80, flip=False):
        columns = np.nonzero((image != 9).any((0, 2)))[0]
        sides.append(np.ptp(columns) + 1)
    assert min(sides) < 0.56 * 30
    assert max(sides) > 1.94 * 30
    assert np.mean(sides) == pytest.approx(1.25 * 30, rel=0.08)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crop_size": 0}, r"data\.augmentation\.crop_size is 0; it must be 1 or more"),
        ({"scales": (2.0, 0.5)}, r"data\.augmentation\.scales is \[2\.0, 0\.5\]"),
        ({"scales": (0.0, 0.5)}, r"data\.augmentation\.scales is \[0\.0, 0\.5\]"),
        ({"color_jitter": 1.5}, r"data\.augmentation\.color_jitter is 1\.5; it must be between 0 and 1"),
    ],
)
def test_setting_out_of_range_is_an_input_error_that_names_it(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RandomCrop(**settings)
