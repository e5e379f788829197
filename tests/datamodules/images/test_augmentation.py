"""Images of a batch change at random, each in its own way."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2.functional import adjust_brightness, adjust_contrast, adjust_saturation

from datamodules.images.augmentation import Augmentation, random_color, random_crop, random_flip
from sextant.errors import InputError

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


# The settings


PLAIN: dict[str, Any] = {"crop_padding": 0, "flip": False, "color_jitter": 0.0}
LABELS = torch.tensor([3, 1, 4, 5, 9, 2, 6, 8])


@pytest.mark.parametrize("setting", [{"crop_padding": 8}, {"flip": True}, {"color_jitter": 0.4}])
def test_every_augmentation_changes_images(setting: dict[str, Any]) -> None:
    images = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8)
    augmentation = Augmentation(**PLAIN | setting)
    plain = Augmentation(**PLAIN)(images)
    torch.testing.assert_close(plain, images / 255, rtol=0, atol=1e-6)
    augmented = [augmentation(images) for _ in range(3)]
    assert not any(torch.equal(changed, plain) for changed in augmented)
    assert not torch.equal(augmented[0], augmented[1])
    assert all((changed.dtype, changed.shape) == (torch.float32, plain.shape) for changed in augmented)


def test_nothing_is_mixed_unless_it_is_asked_for() -> None:
    images = torch.rand(8, 3, 16, 16)
    same, labels = Augmentation().mixing(10)(images, LABELS)
    assert torch.equal(same, images)
    assert torch.equal(labels, LABELS)


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.2, 0.0), (0.0, 1.0), (0.2, 1.0)])
def test_rows_of_mixed_labels_sum_to_one(mixup: float, cutmix: float) -> None:
    images = torch.rand(8, 3, 64, 64)
    mixing = Augmentation(mixup_alpha=mixup, cutmix_alpha=cutmix).mixing(10)
    for _ in range(20):
        mixed, label = mixing(images, LABELS)
        assert (label.shape, label.dtype) == ((8, 10), torch.float32)
        assert (label >= 0).all()
        torch.testing.assert_close(label.sum(1), torch.ones(8))
        own = label.gather(1, LABELS[:, None])
        others = label.gather(1, LABELS.roll(1)[:, None])
        torch.testing.assert_close(own + others, torch.ones(8, 1))
        assert (mixed.shape, mixed.dtype) == (images.shape, torch.float32)


def test_mixup_blends_images_by_the_fractions_of_their_labels() -> None:
    images = torch.rand(8, 3, 64, 64)
    mixing = Augmentation(mixup_alpha=1.0).mixing(10)
    for _ in range(10):
        mixed, label = mixing(images, LABELS)
        fraction = label.gather(1, LABELS[:, None])[:, :, None, None]
        torch.testing.assert_close(mixed, fraction * images + (1 - fraction) * images.roll(1, 0))


def test_cutmix_takes_as_much_of_each_image_as_its_label_says() -> None:
    images = torch.rand(8, 3, 64, 64)
    mixing = Augmentation(cutmix_alpha=1.0).mixing(10)
    fractions = []
    for _ in range(10):
        mixed, label = mixing(images, LABELS)
        own = (mixed == images).all(1)
        other = (mixed == images.roll(1, 0)).all(1)
        assert (own | other).all()
        fraction = label.gather(1, LABELS[:, None])[:, 0]
        torch.testing.assert_close(own.float().mean((1, 2)), fraction, rtol=0, atol=1e-3)
        fractions.append(fraction[0].item())
    assert len(set(fractions)) > 5, "the rectangles did not differ"


def test_both_mixup_and_cutmix_are_drawn_when_both_are_set() -> None:
    images = torch.rand(8, 3, 64, 64)
    mixing = Augmentation(mixup_alpha=1.0, cutmix_alpha=1.0).mixing(10)
    pasted = []
    for _ in range(40):
        mixed, _ = mixing(images, LABELS)
        pasted.append(bool(((mixed == images) | (mixed == images.roll(1, 0))).all()))
    assert 5 < sum(pasted) < 35


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crop_padding": -1}, r"data\.augmentation\.crop_padding is -1; it must be between 0 and"),
        ({"color_jitter": 1.1}, r"data\.augmentation\.color_jitter is 1\.1; it must be between 0 and 1"),
        ({"mixup_alpha": -0.1}, r"data\.augmentation\.mixup_alpha is -0\.1"),
        ({"cutmix_alpha": -0.1}, r"data\.augmentation\.cutmix_alpha is -0\.1"),
    ],
)
def test_setting_out_of_range_is_an_input_error_that_names_it(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Augmentation(**settings)
