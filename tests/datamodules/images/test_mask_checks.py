"""Whatever is wrong with an image and its mask is named before a run."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.images.mask_checks import Checked, cached_check, check_pairs
from datamodules.images.segmentation import Pair, WholeImages, read_mask
from sextant.errors import InputError
from tests.datamodules.images.masks import save_mask
from tests.filesystem import cut_in_half
from tests.noise_images import noise


def why_invalid(pair: Pair, num_classes: int) -> str | None:
    """What is wrong with an image and its mask."""
    return check_pairs([pair], num_classes).invalid.get(pair.image)


def test_good_pair_is_valid_and_its_labels_are_known(pair: Pair) -> None:
    assert check_pairs([pair], 6) == Checked({}, [0, 1, 2, 3, 4, 5, 255])


def test_labels_are_those_of_valid_masks(pair: Pair, tmp_path: Path) -> None:
    shutil.copy(pair.image, tmp_path / "b.png")
    shutil.copy(pair.image, tmp_path / "c.png")
    save_mask(tmp_path / "b_mask.png", np.full((20, 30), 3, np.uint8))
    save_mask(tmp_path / "c_mask.png", np.full((20, 30), 4, np.uint8))
    others = [Pair(tmp_path / f"{name}.png", tmp_path / f"{name}_mask.png") for name in "bc"]
    found = check_pairs([pair, *others], 5)
    assert list(found.invalid) == [pair.image]
    assert found.labels == [3, 4]
    assert check_pairs([Pair(pair.image, None)], 0) == Checked({}, [])


def test_label_that_is_no_class_is_named_with_its_position(pair: Pair) -> None:
    assert "label 5 at column 29, row 16 is no class: there are 5, from 0 to 4" in str(why_invalid(pair, 5))
    assert str(pair.mask) in str(why_invalid(pair, 5))


def test_mask_of_another_size_is_named_with_both_sizes(pair: Pair) -> None:
    assert pair.mask is not None
    save_mask(pair.mask, np.zeros((30, 20), np.uint8))
    assert "the mask has 20x30 pixels and the image 30x20" in str(why_invalid(pair, 6))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "1", "I;16"])
def test_mask_of_another_mode_is_refused(pair: Pair, mode: str) -> None:
    assert pair.mask is not None
    pixels = np.zeros((20, 30), np.uint16) if mode == "I;16" else np.zeros((20, 30), np.uint8)
    image = Image.fromarray(pixels)
    (image if mode == "I;16" else image.convert(mode)).save(pair.mask)
    complaint = str(why_invalid(pair, 6))
    assert f"the mask's mode is {mode}; it must be a palette image (P)" in complaint
    assert ("quantize" in complaint) == mode.startswith("RGB")


def test_grayscale_masks_hold_labels_too(pair: Pair) -> None:
    assert pair.mask is not None
    labels = np.asarray(read_mask(pair.mask)).copy()
    Image.fromarray(labels).save(pair.mask)
    assert why_invalid(pair, 6) is None
    assert np.array_equal(np.asarray(read_mask(pair.mask)), labels)


@pytest.mark.parametrize("which", [0, 1])
def test_file_that_is_cut_short_is_named(tmp_path: Path, which: int) -> None:
    Image.fromarray(noise(0, 40, 40, 3)).save(tmp_path / "a.jpg")
    save_mask(tmp_path / "a.png", noise(1, 40, 40))
    pair = Pair(tmp_path / "a.jpg", tmp_path / "a.png")
    cut_in_half(pair[which])  # type: ignore[arg-type]
    assert "Error" in str(why_invalid(pair, 256))
    with pytest.raises(InputError, match=pair[which].name):  # type: ignore[union-attr]
        WholeImages([pair])[np.array([0])]


def test_pairs_are_checked_once_and_again_after_a_change(pair: Pair, tmp_path: Path) -> None:
    assert pair.mask is not None
    cache = tmp_path / "cache"
    assert cached_check([pair], 6, tmp_path, cache, "checked") == Checked({}, [0, 1, 2, 3, 4, 5, 255])
    assert list(cached_check([pair], 5, tmp_path, cache, "checked").invalid) == [pair.image]
    (known,) = cache.glob("checked-*/checked.json")
    known.write_text('{"invalid": {"0": "why"}, "labels": [2]}')
    assert cached_check([pair], 5, tmp_path, cache, "checked") == Checked({pair.image: "why"}, [2])
    save_mask(pair.mask, np.zeros((20, 30), np.uint8))
    assert cached_check([pair], 5, tmp_path, cache, "checked") == Checked({}, [0])


def test_checks_are_found_again_however_the_path_of_the_folder_is_written(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert pair.mask is not None
    near = Pair(pair.image.relative_to(tmp_path), pair.mask.relative_to(tmp_path))
    assert list(cached_check([near], 5, Path(), Path("cache"), "checked").invalid) == [near.image]
    assert list(cached_check([pair], 5, tmp_path, Path("cache"), "checked").invalid) == [pair.image]


@pytest.mark.parametrize(("orientation", "fits"), [(1, True), (3, False), (6, False)])
def test_labeled_image_that_is_to_be_turned_is_refused(pair: Pair, orientation: int, fits: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert pair.mask is not None
    size = (20, 20)
    Image.new("RGB", size).save(pair.image, exif=exif)
    save_mask(pair.mask, np.zeros(size, np.uint8))
    assert (why_invalid(pair, 6) is None) == fits
    assert why_invalid(Pair(pair.image, None), 6) is None
