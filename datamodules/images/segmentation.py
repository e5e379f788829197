"""Images with a mask of labels: read, checked, and cut into training crops."""

import hashlib
import os
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from datamodules.images.image_file import UnreadableImageError, read_image
from datamodules.images.voc_palette import IGNORED
from datamodules.sources.invalid_samples import cached_reasons
from sextant.atomic_folder import fingerprint
from sextant.errors import InputError

ORIENTATION = 0x0112  # of EXIF


class Pair(NamedTuple):
    """An image and, if it is labeled, its mask."""

    image: Path
    mask: Path | None


def read_mask(file: Path) -> Image.Image:
    """Read a mask whose pixels are labels: a palette (mode P) or grayscale (mode L) image, never converted.

    Raises:
        UnreadableImageError: it is no whole image, or one of another mode.
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
        raise UnreadableImageError(f"{type(error).__name__}: {str(error).replace(str(file), 'file')}") from error
    if mask.mode not in ("P", "L"):
        advice = (
            "Colors of VOC's palette become labels again, in Python, by: from PIL import Image; "
            "rgb = Image.open('mask.png').convert('RGB'); "
            "rgb.quantize(palette=Image.open('a good mask.png'), dither=0).save('mask.png')"
            if mask.mode.startswith("RGB")
            else "Save it with 8 bits, as a palette or grayscale image"
        )
        raise UnreadableImageError(
            f"the mask's mode is {mask.mode}; it must be a palette image (P), whose pixels are labels. {advice}"
        )
    return mask


def fault(pair: Pair, num_classes: int) -> str | None:
    """Say what is wrong with an image and its mask, None if nothing is."""
    try:
        size = read_image(pair.image).size
    except UnreadableImageError as error:
        return str(error)
    if pair.mask is None:
        return None
    with Image.open(pair.image) as opened:
        orientation = opened.getexif().get(ORIENTATION, 1)
    if orientation not in (0, 1):
        return (
            f"an orientation ({orientation}) is written into its EXIF data, and whether the mask is turned like that "
            "cannot be known. Save the image as it is to be seen, without EXIF data"
        )
    try:
        mask = read_mask(pair.mask)
    except UnreadableImageError as error:
        return f"{pair.mask}: {error}"
    if mask.size != size:
        return (
            f"{pair.mask}: the mask has {mask.width}x{mask.height} pixels and the image {size[0]}x{size[1]}. "
            "One of the two belongs to another image, or was scaled"
        )
    labels = np.asarray(mask)
    wrong = (labels >= num_classes) & (labels != IGNORED)
    if wrong.any():
        row, column = np.argwhere(wrong)[0].tolist()
        return (
            f"{pair.mask}: label {labels[row, column]} at column {column}, row {row} is no class: there are "
            f"{num_classes}, from 0 to {num_classes - 1}, and 255 for pixels that do not count. Name all classes in "
            "the file of data.classes, or correct the mask"
        )
    return None


def find_faults(pairs: Sequence[Pair], num_classes: int) -> dict[Path, str]:
    """Read all images and masks, and say what is wrong with which image or its mask.

    Args:
        pairs: the images.
        num_classes: labels are below it, or 255.
    """
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        found = pool.map(lambda pair: fault(pair, num_classes), pairs)
        bar = tqdm(found, desc="Checking images", unit="image", total=len(pairs))
        return {pair.image: why for pair, why in zip(pairs, bar, strict=True) if why is not None}


def known_faults(pairs: Sequence[Pair], num_classes: int, root: Path, cache: Path, name: str) -> dict[Path, str]:
    """The same, remembered until one of the files changes.

    Args:
        pairs: all under ``root``.
        num_classes: labels are below it, or 255.
        root: the data set's folder.
        cache: where it is remembered.
        name: what the pairs are, for people who look into ``cache``.
    """
    place = hashlib.sha256(os.fsencode(root.absolute())).hexdigest()[:8]
    files = [file for pair in pairs for file in pair if file is not None]

    def find() -> dict[int, str]:
        faults = find_faults(pairs, num_classes)
        # By number: the same root may be spelt in another way the next time.
        return {number: faults[pair.image] for number, pair in enumerate(pairs) if pair.image in faults}

    current = fingerprint(files, str(root), str(num_classes))
    found = cached_reasons(cache / f"{name}-{place}", current, find)
    return {pairs[number].image: why for number, why in found.items()}


@dataclass(frozen=True)
class RandomCrop:
    """Scale an image by a random factor and take a random square of it, with a random flip and random color.

    What is drawn is a pure function of (seed, epoch, sample). Only the square is resampled, not the whole image.

    Args:
        size: side of the square, in pixels. Where the scaled image is smaller, it has a random place in the square.
        scales: lowest and highest factor; it is uniform between them.
        flip: whether half of the squares are mirrored.
        color_jitter: brightness, contrast and saturation change by up to this share.
        seed: seed of all that is drawn.
    """

    size: int
    scales: tuple[float, float]
    flip: bool
    color_jitter: float
    seed: int

    def __call__(
        self,
        epoch: int,
        index: int,
        image: Image.Image,
        mask: Image.Image,
        image_crop: NDArray[np.uint8],
        label_crop: NDArray[np.uint8],
    ) -> NDArray[np.float32]:
        """Fill a square.

        Args:
            epoch: the epoch.
            index: of the sample.
            image: RGB.
            mask: of the same size, of labels.
            image_crop: to be filled, (size, size, 3), given in the color that surrounds images.
            label_crop: to be filled, (size, size), given as labels that do not count.

        Returns:
            Factors of brightness, contrast and saturation, float32 (3,), to be applied to the square.
        """
        random = np.random.default_rng([self.seed, epoch, index])
        factor = random.uniform(*self.scales)
        box, place = [], []
        for side in image.size:
            scaled = max(1, round(side * factor))
            slack = scaled - self.size
            start = int(random.integers(min(0, slack), max(0, slack), endpoint=True))
            inside = max(0, start), min(scaled, start + self.size)
            box.append([edge * side / scaled for edge in inside])
            place.append(slice(inside[0] - start, inside[1] - start))
        (left, right), (top, bottom) = box
        columns, rows = place
        size = columns.stop - columns.start, rows.stop - rows.start
        edges = (left, top, right, bottom)
        image = image.resize(size, Image.Resampling.BILINEAR, edges)
        mask = mask.resize(size, Image.Resampling.NEAREST, edges)
        if self.flip and random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            mask = mask.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image_crop[rows, columns] = np.asarray(image)
        label_crop[rows, columns] = np.asarray(mask)
        return random.uniform(1 - self.color_jitter, 1 + self.color_jitter, 3).astype(np.float32)


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
        except UnreadableImageError as error:
            raise InputError(f"{file}: {error}.") from error


class TrainingCrops(_Pairs):
    """Batches of crops, asked for by an epoch and the samples.

    ``image`` uint8 (B, 3, size, size), channels last in memory, ``label`` uint8 (B, size, size), ``color`` float
    (B, 3), factors of brightness, contrast and saturation, and ``index`` int64 (B,).

    Args:
        pairs: with masks.
        crop: makes a crop of a pair.
        surround: RGB color around images that are smaller than the crop.
    """

    def __init__(self, pairs: Sequence[Pair], crop: RandomCrop, surround: Sequence[int]) -> None:
        super().__init__(pairs)
        self.crop = crop
        self._empty = np.full((crop.size, crop.size, 3), surround, np.uint8)

    def __getitem__(self, request: tuple[int, list[int]]) -> dict[str, Tensor]:
        epoch, indices = request
        shape = (len(indices), self.crop.size, self.crop.size)
        images = np.empty((*shape, 3), np.uint8)
        labels = np.full(shape, IGNORED, np.uint8)
        color = np.empty((len(indices), 3), np.float32)
        for place, index in enumerate(indices):
            image, mask = self.read(index)
            assert mask is not None
            images[place] = self._empty
            color[place] = self.crop(epoch, index, image, mask, images[place], labels[place])
        return {
            "image": torch.from_numpy(images).permute(0, 3, 1, 2),
            "label": torch.from_numpy(labels),
            "color": torch.from_numpy(color),
            "index": torch.tensor(indices),
        }


class WholeImages(_Pairs):
    """Batches of one whole image: ``image`` uint8 (1, 3, H, W), ``index`` int64 (1,), ``label`` uint8 (1, H, W).

    Images without a mask have no label. A request for the bitwise complement of a sample's number, which is below 0,
    gives its image to fill a batch up: no pixel of its label counts.
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
