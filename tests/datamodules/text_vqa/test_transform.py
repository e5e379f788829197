"""Images are resized and normalized, and questions padded, on the device."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from datamodules.text_vqa import TextVQA
from tests.datamodules.text_vqa.small_data import (
    one_batch,
)
from tests.noise_images import noise


def test_normalization_is_flavas(make: Callable[..., TextVQA]) -> None:
    levels = [torch.full((3, 16, 16), value, dtype=torch.uint8) for value in (0, 128, 255)]
    image = make().transform(one_batch(*levels), training=False)["image"]
    for level, value in zip(image, (0, 128, 255), strict=True):
        exact = (value / 255 - np.array(OPENAI_CLIP_MEAN)) / np.array(OPENAI_CLIP_STD)
        np.testing.assert_allclose(level[:, 5, 7].numpy(), exact, atol=1e-6)


SIZES = [(16, 16), (64, 64), (50, 21), (9, 120), (3, 5), (1, 1)]


@pytest.mark.parametrize("training", [False, True])
def test_images_of_any_size_are_resized_as_torchvision_does(make: Callable[..., TextVQA], training: bool) -> None:
    images = [torch.from_numpy(noise(k, 3, *size)) for k, size in enumerate(SIZES)]
    found = make().transform(one_batch(*images), training=training)["image"]
    resize = v2.Resize((16, 16), v2.InterpolationMode.BICUBIC, antialias=True)
    normalize = v2.Normalize(OPENAI_CLIP_MEAN, OPENAI_CLIP_STD)
    for image, result in zip(images, found, strict=True):
        expected = normalize(v2.functional.to_dtype(resize(image), torch.float32, scale=True))
        torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("size", SIZES)
def test_resized_image_is_pillows_too(make: Callable[..., TextVQA], size: tuple[int, int]) -> None:
    pixels = noise(0, *size, 3) // 2 + 64  # nothing is cut off at black and white between the two directions
    data = make()
    image = data.transform(one_batch(torch.from_numpy(pixels.transpose(2, 0, 1))), training=False)["image"]
    expected = np.asarray(Image.fromarray(pixels).resize((16, 16), Image.Resampling.BICUBIC), int)
    found = data.to_images(image)[0].numpy().transpose(1, 2, 0)
    assert abs(found - expected).max() <= 1


def test_to_images_undoes_the_normalization_of_every_shade(make: Callable[..., TextVQA]) -> None:
    shades = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16).expand(3, 16, 16)
    data = make()
    images = data.to_images(data.transform(one_batch(shades, shades.flip(1)), training=False)["image"])
    assert images.dtype == torch.uint8
    assert torch.equal(images, torch.stack([shades, shades.flip(1)]))
    beyond = data.to_images(torch.tensor([-100.0, 100.0]).reshape(1, 1, 1, 2).expand(1, 3, 1, 2))
    assert beyond[0, 0, 0].tolist() == [0, 255]


@pytest.mark.parametrize("fixed_length", [False, True])
def test_fixed_length_pads_every_question_to_the_limit(prepared: Callable[..., TextVQA], fixed_length: bool) -> None:
    data = prepared("test", preprocessing={"fixed_length": fixed_length})
    for raw in data.test_dataloader():
        tokens, lengths = data.transform(raw, training=False)["question"]
        longest = int(lengths.max())
        assert tokens.shape[1] == (16 if fixed_length else longest)
        assert longest < 16
        assert torch.equal(tokens[:, :longest], raw["question"].data)
        assert (tokens[:, longest:] == 0).all()
        assert torch.equal(lengths, raw["question"].lengths)
