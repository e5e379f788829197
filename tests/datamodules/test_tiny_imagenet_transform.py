"""Images of Tiny-ImageNet are augmented and normalized in batches."""

from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.images.augmentation import Augmentation
from datamodules.tiny_imagenet import MEAN, STD, TinyImageNet
from tests.noise_images import noise


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    """Eight images of noise, each of a class of its own."""
    return {
        "image": torch.from_numpy(noise(0, 8, 3, 64, 64)),
        "label": torch.tensor([3, 1, 4, 5, 9, 2, 6, 8]),
        "index": torch.arange(8),
    }


@pytest.fixture(scope="module")
def training(tiny_imagenet: Path, cache: Path) -> TinyImageNet:
    """The data set before a fit, with every kind of augmentation."""
    augmentation = Augmentation(crop_padding=8, flip=True, color_jitter=0.4, mixup_alpha=0.2, cutmix_alpha=1.0)
    data = TinyImageNet(root=str(tiny_imagenet), cache=str(cache), augmentation=augmentation)
    data.setup("fit")
    return data


def test_transform_outside_training_is_exactly_the_normalization(
    training: TinyImageNet, batch: dict[str, torch.Tensor]
) -> None:
    generator = torch.get_rng_state()
    first = training.transform(batch, training=False)
    second = training.transform(batch, training=False)
    assert torch.equal(torch.get_rng_state(), generator), "a random number was drawn"
    assert torch.equal(first["image"], second["image"])
    exact = (batch["image"].numpy() / 255 - np.array(MEAN)[:, None, None]) / np.array(STD)[:, None, None]
    np.testing.assert_allclose(first["image"].numpy(), exact, rtol=0, atol=2e-6)
    assert torch.equal(first["label"], batch["label"])
    assert torch.equal(first["index"], batch["index"])


def test_transform_in_training_without_augmentation_is_that_outside(
    tiny_imagenet: Path, cache: Path, batch: dict[str, torch.Tensor]
) -> None:
    none = Augmentation(crop_padding=0, flip=False)
    data = TinyImageNet(root=str(tiny_imagenet), cache=str(cache), augmentation=none)
    data.setup("fit")
    torch.testing.assert_close(data.transform(batch, True), data.transform(batch, False), rtol=0, atol=0)


def test_transform_in_training_is_the_same_for_the_same_seed_of_torch(
    training: TinyImageNet, batch: dict[str, torch.Tensor]
) -> None:
    images = []
    for seed in range(5):  # MixUp for some, CutMix for others
        torch.manual_seed(seed)
        first = training.transform(batch, training=True)
        torch.manual_seed(seed)
        torch.testing.assert_close(training.transform(batch, training=True), first, rtol=0, atol=0)
        assert (first["label"].shape, first["label"].dtype) == ((8, 10), torch.float32)
        assert torch.equal(first["index"], batch["index"])
        images.append(first["image"])
    assert not any(torch.equal(images[0], other) for other in images[1:])


def test_transform_leaves_the_batch_that_it_is_given_as_it_was(
    training: TinyImageNet, batch: dict[str, torch.Tensor]
) -> None:
    before = {name: tensor.clone() for name, tensor in batch.items()}
    training.transform(batch, training=True)
    torch.testing.assert_close(batch, before, rtol=0, atol=0)


def test_to_images_undoes_the_normalization_of_every_shade(training: TinyImageNet) -> None:
    shades = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(2, 3, 16, 16)
    images = training.to_images(training.transform({"image": shades}, training=False)["image"])
    assert images.dtype == torch.uint8
    assert torch.equal(images, shades)


def test_to_images_keeps_what_is_beyond_black_and_white_within_a_byte(training: TinyImageNet) -> None:
    images = training.to_images(torch.tensor([-100.0, 100.0]).reshape(1, 1, 1, 2).expand(1, 3, 1, 2))
    assert images[0, 0, 0].tolist() == [0, 255]
