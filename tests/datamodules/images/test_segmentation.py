"""Pairs of image and mask: what is wrong with them is said, and crops show the same part of both."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.images.image_file import InvalidImageError
from datamodules.images.segmentation import Pair, RandomCrop, TrainingCrops, WholeImages, fault, known_faults, read_mask
from datamodules.images.voc_palette import voc_palette
from sextant.errors import InputError
from tests.datamodules.faults import cut_in_half, noise


def save_mask(file: Path, labels: np.ndarray) -> None:
    mask = Image.fromarray(labels).convert("P")
    mask.putpalette(voc_palette().tobytes())
    mask.save(file)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """An image of 30x20 pixels whose red is its mask's label times 40, losslessly; one pixel does not count."""
    labels = (np.indices((20, 30)).sum(0) // 9).astype(np.uint8)
    pixels = np.stack([40 * labels, labels * 0, labels * 0 + 7], -1)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    labels[3, 4] = 255
    save_mask(tmp_path / "a_mask.png", labels)
    return Pair(tmp_path / "a.png", tmp_path / "a_mask.png")


# What is wrong with a pair


def test_good_pair_has_no_fault(pair: Pair) -> None:
    assert fault(pair, 6) is None


def test_label_that_is_no_class_is_named_with_its_place(pair: Pair) -> None:
    assert "label 5 at column 29, row 16 is no class: there are 5, from 0 to 4" in str(fault(pair, 5))
    assert str(pair.mask) in str(fault(pair, 5))


def test_mask_of_another_size_is_named_with_both_sizes(pair: Pair) -> None:
    assert pair.mask is not None
    save_mask(pair.mask, np.zeros((30, 20), np.uint8))
    assert "the mask has 20x30 pixels and the image 30x20" in str(fault(pair, 6))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "1", "I;16"])
def test_mask_of_another_mode_is_refused(pair: Pair, mode: str) -> None:
    assert pair.mask is not None
    pixels = np.zeros((20, 30), np.uint16) if mode == "I;16" else np.zeros((20, 30), np.uint8)
    image = Image.fromarray(pixels)
    (image if mode == "I;16" else image.convert(mode)).save(pair.mask)
    complaint = str(fault(pair, 6))
    assert f"the mask's mode is {mode}; it must be a palette image (P)" in complaint
    assert ("quantize" in complaint) == mode.startswith("RGB")


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


def test_grayscale_masks_hold_labels_too(pair: Pair) -> None:
    assert pair.mask is not None
    labels = np.asarray(read_mask(pair.mask)).copy()
    Image.fromarray(labels).save(pair.mask)
    assert fault(pair, 6) is None
    assert np.array_equal(np.asarray(read_mask(pair.mask)), labels)


@pytest.mark.parametrize("which", [0, 1])
def test_file_that_is_cut_short_is_named(tmp_path: Path, which: int) -> None:
    Image.fromarray(noise(0, 40, 40, 3)).save(tmp_path / "a.jpg")
    save_mask(tmp_path / "a.png", noise(1, 40, 40))
    pair = Pair(tmp_path / "a.jpg", tmp_path / "a.png")
    cut_in_half(pair[which])  # type: ignore[arg-type]
    assert "Error" in str(fault(pair, 256))
    with pytest.raises(InputError, match=pair[which].name):  # type: ignore[union-attr]
        WholeImages([pair])[np.array([0])]


def test_faults_are_found_once_and_again_after_a_change(pair: Pair, tmp_path: Path) -> None:
    assert pair.mask is not None
    cache = tmp_path / "cache"
    assert known_faults([pair], 6, tmp_path, cache, "checked") == {}
    assert list(known_faults([pair], 5, tmp_path, cache, "checked")) == [pair.image]
    (known,) = cache.glob("checked-*/invalid.json")
    known.write_text('{"0": "why"}')
    assert known_faults([pair], 5, tmp_path, cache, "checked") == {pair.image: "why"}
    save_mask(pair.mask, np.zeros((20, 30), np.uint8))
    assert known_faults([pair], 5, tmp_path, cache, "checked") == {}


def test_faults_are_known_however_the_folder_is_spelt(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert pair.mask is not None
    near = Pair(pair.image.relative_to(tmp_path), pair.mask.relative_to(tmp_path))
    assert list(known_faults([near], 5, Path(), Path("cache"), "checked")) == [near.image]
    assert list(known_faults([pair], 5, tmp_path, Path("cache"), "checked")) == [pair.image]


@pytest.mark.parametrize(("orientation", "fits"), [(1, True), (3, False), (6, False)])
def test_labeled_image_that_is_to_be_turned_is_refused(pair: Pair, orientation: int, fits: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert pair.mask is not None
    size = (20, 20)
    Image.new("RGB", size).save(pair.image, exif=exif)
    save_mask(pair.mask, np.zeros(size, np.uint8))
    assert (fault(pair, 6) is None) == fits
    assert fault(Pair(pair.image, None), 6) is None


# Crops


def crops(pair: Pair, epochs: int, **settings: object) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Image (S, S, 3) and mask (S, S) of the pair in some epochs."""
    defaults: dict = {"size": 24, "scales": (0.5, 2.0), "flip": True, "color_jitter": 0.0, "seed": 0}
    dataset = TrainingCrops([pair], RandomCrop(**defaults | settings), (9, 9, 9))
    for epoch in range(epochs):
        batch = dataset[epoch, [0]]
        yield batch["image"][0].permute(1, 2, 0).numpy(), batch["label"][0].numpy()


def test_crop_without_scaling_is_a_part_of_the_image_and_the_same_part_of_its_mask(pair: Pair) -> None:
    assert pair.mask is not None
    whole = np.asarray(Image.open(pair.image))
    labels = np.asarray(read_mask(pair.mask))
    seen = set()
    for image, label in crops(pair, 60, size=10, scales=(1.0, 1.0)):
        places = [
            (row, column, mirrored)
            for mirrored in (False, True)
            for row in range(11)
            for column in range(21)
            for part in [whole[row : row + 10, column : column + 10]]
            for turned in [part[:, ::-1] if mirrored else part]
            for mask in [labels[row : row + 10, column : column + 10]]
            if np.array_equal(turned, image) and np.array_equal(mask[:, ::-1] if mirrored else mask, label)
        ]
        assert places
        seen.add(places[0])
    assert len(seen) > 20
    assert {mirrored for _, _, mirrored in seen} == {False, True}


def test_scaled_crops_of_image_and_mask_stay_together(pair: Pair) -> None:
    shares = []
    for image, label in crops(pair, 40):
        outside = (image == 9).all(-1)
        assert (label[outside] == 255).all()
        inside = label != 255
        near = np.abs(image[..., 0] / 40 - label) < 0.51  # smooth borders between the labels
        shares.append(near[inside].mean())
    assert min(shares) > 0.85
    assert np.mean(shares) > 0.95


def test_crop_is_the_same_part_of_the_whole_resized_image(tmp_path: Path) -> None:
    image = Image.fromarray(noise(0, 50, 70, 3))
    mask = Image.fromarray(np.zeros((50, 70), np.uint8))
    for seed in range(5):
        crop = RandomCrop(size=32, scales=(0.8, 1.9), flip=False, color_jitter=0.0, seed=seed)
        filled, label = np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32), np.uint8)
        crop(0, 0, image, mask, filled, label)
        factor = np.random.default_rng([seed, 0, 0]).uniform(0.8, 1.9)
        whole = np.asarray(image.resize((round(70 * factor), round(50 * factor)), Image.Resampling.BILINEAR))
        distances = [
            np.abs(whole[r : r + 32, c : c + 32].astype(int) - filled).max()
            for r in range(whole.shape[0] - 31)
            for c in range(whole.shape[1] - 31)
        ]
        assert min(distances) <= 2  # rounding, of places too


def test_small_images_are_whole_in_the_crop_at_a_random_place(pair: Pair) -> None:
    corners = set()
    for image, label in crops(pair, 30, size=40, scales=(1.0, 1.0), flip=False):
        rows, columns = np.nonzero((image != 9).any(-1))
        assert (np.ptp(rows), np.ptp(columns)) == (19, 29)
        assert (label != 255).sum() == 20 * 30 - 1
        corners.add((rows.min(), columns.min()))
    assert len(corners) > 20


def test_what_is_drawn_depends_on_seed_epoch_and_sample_alone(pair: Pair) -> None:
    crop = RandomCrop(24, (0.5, 2.0), flip=True, color_jitter=0.5, seed=1)
    dataset = TrainingCrops([pair] * 5, crop, (9, 9, 9))
    batch, other = dataset[3, [4, 1]], dataset[3, [0, 1, 2]]
    assert all((batch[name][1] == other[name][1]).all() for name in batch)
    assert not (batch["image"][0] == batch["image"][1]).all()  # another sample
    assert not (dataset[4, [1]]["image"][0] == batch["image"][1]).all()  # another epoch
    seeded = TrainingCrops([pair] * 5, RandomCrop(24, (0.5, 2.0), True, 0.5, seed=2), (9, 9, 9))
    assert not (seeded[3, [1]]["image"][0] == batch["image"][1]).all()
    assert ((batch["color"] >= 0.5) & (batch["color"] <= 1.5)).all()
    assert len(batch["color"].unique()) == 6


def test_scales_are_spread_over_their_range(pair: Pair) -> None:
    sides = []
    for image, _ in crops(pair, 200, size=80, flip=False):
        columns = np.nonzero((image != 9).any((0, 2)))[0]
        sides.append(np.ptp(columns) + 1)
    assert min(sides) < 0.56 * 30
    assert max(sides) > 1.94 * 30
    assert np.mean(sides) == pytest.approx(1.25 * 30, rel=0.08)


# Whole images


def test_whole_image_is_a_batch_of_one_with_its_mask(pair: Pair) -> None:
    batch = WholeImages([pair, Pair(pair.image, None)])[np.array([0])]
    assert pair.mask is not None
    assert np.array_equal(batch["image"][0].permute(1, 2, 0), np.asarray(Image.open(pair.image)))
    assert np.array_equal(batch["label"][0], np.asarray(read_mask(pair.mask)))
    assert batch["index"].tolist() == [0]
    assert "label" not in WholeImages([Pair(pair.image, None)])[np.array([0])]


def test_image_that_fills_up_has_no_pixel_that_counts(pair: Pair) -> None:
    batch = WholeImages([pair])[np.array([~0])]
    assert batch["index"].tolist() == [-1]
    assert (batch["label"] == 255).all()
    assert batch["image"].shape == (1, 3, 20, 30)
