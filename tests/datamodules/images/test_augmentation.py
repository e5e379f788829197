"""Images of a batch change at random, each in its own way."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2.functional import adjust_brightness, adjust_contrast, adjust_saturation

from datamodules.images.augmentation import random_color, random_crop, random_flip

AUGMENTATIONS = [
    pytest.param(random_flip, id="flip"),
    pytest.param(lambda images: random_crop(images, 3), id="crop"),
    pytest.param(lambda images: random_color(images, 0.5), id="color"),
]


def copies(image: Tensor, count: int) -> Tensor:
    return image.expand(count, *image.shape)


def count_different(images: Tensor) -> int:
    return len(images.flatten(1).unique(dim=0))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_each_image_of_a_batch_is_changed_in_its_own_way(augment: Callable[[Tensor], Tensor]) -> None:
    augmented = augment(copies(torch.rand(3, 16, 16), 64))
    assert count_different(augmented) >= (2 if augment is random_flip else 20)


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_same_seed_of_torch_gives_the_same_images_and_another_seed_others(
    augment: Callable[[Tensor], Tensor],
) -> None:
    images = torch.rand(16, 3, 16, 16)
    first, second, other = (augment(images) for seed in (1, 1, 2) if torch.manual_seed(seed))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_images_that_are_given_stay_as_they_were(augment: Callable[[Tensor], Tensor]) -> None:
    images = torch.rand(16, 3, 16, 16)
    before = images.clone()
    augment(images)
    assert torch.equal(images, before)


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_single_image_is_a_batch_too(augment: Callable[[Tensor], Tensor]) -> None:
    assert augment(torch.rand(1, 3, 16, 12)).shape == (1, 3, 16, 12)


def test_flip_mirrors_about_half_of_the_images_and_leaves_the_others() -> None:
    images = torch.randint(0, 256, (400, 3, 5, 8), dtype=torch.uint8)
    flipped = random_flip(images)
    assert flipped.dtype == torch.uint8
    same = (flipped == images).flatten(1).all(1)
    mirrored = (flipped == images.flip(-1)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 160 < mirrored.sum() < 240


@pytest.mark.parametrize(("height", "width", "padding"), [(16, 16, 2), (9, 14, 3), (4, 7, 3)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_crop_is_a_window_of_the_reflected_image_at_every_offset(
    height: int, width: int, padding: int, dtype: torch.dtype
) -> None:
    image = torch.randint(0, 256, (3, height, width)).to(dtype)
    padded = F.pad(image.float()[None], [padding] * 4, mode="reflect")[0].to(dtype)
    offsets = range(2 * padding + 1)
    windows = torch.stack([padded[:, y : y + height, x : x + width] for y in offsets for x in offsets])
    windows = windows.unique(dim=0)  # those of the two ends are the same when the padding is as large as it may be
    cropped = random_crop(copies(image, 1500), padding)
    assert cropped.dtype == dtype
    assert cropped.shape == (1500, 3, height, width)
    equal = (cropped.flatten(1)[:, None] == windows.flatten(1)[None]).all(2)
    assert (equal.sum(1) == 1).all(), "an image is no window of the reflected one"
    assert equal.any(0).all(), "an offset was never drawn"


def test_crop_without_padding_changes_nothing() -> None:
    images = torch.rand(8, 3, 9, 7)
    assert torch.equal(random_crop(images, 0), images)


def test_color_of_strength_zero_changes_nothing() -> None:
    images = torch.rand(8, 3, 9, 7)
    assert torch.equal(random_color(images, 0.0), images)


@pytest.mark.parametrize("strength", [0.1, 0.5, 1.0])
def test_color_stays_between_black_and_white(strength: float) -> None:
    images = torch.rand(200, 3, 8, 8).mul(3).sub(1).clamp(0, 1)  # with many pixels at 0 and at 1
    changed = random_color(images, strength)
    assert changed.shape == images.shape
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert not torch.equal(changed, images)


def test_color_is_brightness_then_contrast_then_saturation_of_torchvision() -> None:
    images = torch.rand(32, 3, 8, 8)
    torch.manual_seed(1)
    changed = random_color(images, 0.6)
    torch.manual_seed(1)
    factors = 1 + 0.6 * (2 * torch.rand(3, 32) - 1)
    assert factors.min() < 0.5
    assert factors.max() > 1.5
    for k, image in enumerate(images):
        brightness, contrast, saturation = factors[:, k].tolist()
        expected = adjust_saturation(adjust_contrast(adjust_brightness(image, brightness), contrast), saturation)
        torch.testing.assert_close(changed[k], expected, rtol=0, atol=1e-5)


def test_color_leaves_gray_images_gray() -> None:
    changed = random_color(torch.rand(16, 1, 8, 8).expand(-1, 3, -1, -1), 0.8)
    torch.testing.assert_close(changed.amax(1), changed.amin(1), rtol=0, atol=1e-3)
