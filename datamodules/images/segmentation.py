"""Data sets of images with a mask of labels: crops for training, whole images otherwise."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.images.image_file import InvalidImageError, read_image
from datamodules.images.random_crop import RandomCrop
from datamodules.images.voc_palette import IGNORED
from sextant.errors import InputError

#: How masks of other modes become labels.
ADVICE = dict.fromkeys(
    ("RGB", "RGBA"),
    "Colors of VOC's palette become labels again, in Python, by: from PIL import Image; "
    "rgb = Image.open('mask.png').convert('RGB'); "
    "rgb.quantize(palette=Image.open('a good mask.png'), dither=0).save('mask.png')",
) | {
    "1": "Black and white become the labels 0 and 1, in Python, by: from PIL import Image; "
    "mask = Image.open('mask.png'); mask.point([0] + [1] * 255, 'L').save('mask.png')"
}


class Pair(NamedTuple):
    """An image and, if it is labeled, its mask."""

    image: Path
    mask: Path | None


def read_mask(file: Path) -> Image.Image:
    """A mask whose pixels are labels: a palette (mode P) or grayscale (mode L) image, never converted.

    Raises:
        InvalidImageError: the file is damaged, or of another mode.
    """
    try:
        with Image.open(file) as mask:
            mask.load()
    except (
        OSError,
        SyntaxError,
        ValueError,
        struct.error,
        Image.DecompressionBombError,
    ) as error:  # what Pillow raises
        raise InvalidImageError(f"{type(error).__name__}: {str(error).replace(str(file), 'file')}") from error
    if mask.mode not in ("P", "L"):
        advice = ADVICE.get(mask.mode, "Save it with 8 bits, as a palette or grayscale image")
        raise InvalidImageError(
            f"the mask's mode is {mask.mode}; it must be a palette image (P), whose pixels are labels. {advice}"
        )
    return mask


class _Pairs(Dataset):
    def __init__(self, pairs: Sequence[Pair]) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def read(self, index: int) -> tuple[Image.Image, Image.Image | None]:
        """An image and its mask.

        Raises:
            InputError: one of the two cannot be read.
        """
        file, mask = self.pairs[index]
        try:
            image = read_image(file)
            file = mask or file
            return image, None if mask is None else read_mask(mask)
        except InvalidImageError as error:
            raise InputError(f"{file}: {error}.") from error


class TrainingCrops(_Pairs):
    """Batches of random crops, by epoch and sample indices.

    ``image`` uint8 (B, 3, size, size), channels last in memory, ``label`` uint8 (B, size, size), ``color`` float
    (B, 3), factors of brightness, contrast and saturation, and ``index`` int64 (B,). The crop of an image is a pure
    function of (seed, epoch, index).

    Args:
        pairs: with masks.
        crop: makes a crop of a pair.
        surround: RGB color around images that are smaller than the crop.
        seed: seed of the crops.
    """

    def __init__(self, pairs: Sequence[Pair], crop: RandomCrop, surround: Sequence[int], seed: int) -> None:
        super().__init__(pairs)
        self.crop = crop
        self.seed = seed
        self._empty = np.full((crop.crop_size, crop.crop_size, 3), surround, np.uint8)

    def __getitem__(self, request: tuple[int, list[int]]) -> dict[str, Tensor]:
        epoch, indices = request
        shape = (len(indices), self.crop.crop_size, self.crop.crop_size)
        images = np.empty((*shape, 3), np.uint8)
        labels = np.full(shape, IGNORED, np.uint8)
        color = np.empty((len(indices), 3), np.float32)
        for i, index in enumerate(indices):
            image, mask = self.read(index)
            assert mask is not None
            images[i] = self._empty
            random = np.random.default_rng([self.seed, epoch, index])
            color[i] = self.crop(random, image, mask, images[i], labels[i])
        return {
            "image": torch.from_numpy(images).permute(0, 3, 1, 2),
            "label": torch.from_numpy(labels),
            "color": torch.from_numpy(color),
            "index": torch.tensor(indices),
        }


class WholeImages(_Pairs):
    """Batches of one whole image: ``image`` uint8 (1, 3, H, W), ``index`` int64 (1,), ``label`` uint8 (1, H, W).

    Images without a mask have no label. A negative index ``~i`` is padding of the last batch: image ``i`` with all of
    its labels ``IGNORED``.
    """

    def __getitem__(self, indices: NDArray[np.int64]) -> dict[str, Any]:
        (index,) = indices.tolist()
        image, mask = self.read(max(index, ~index))
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        batch = {"image": pixels[None], "index": torch.tensor([index])}
        if mask is not None:
            label = torch.from_numpy(np.array(mask))[None]
            batch["label"] = label if index >= 0 else torch.full_like(label, IGNORED)
        return batch
