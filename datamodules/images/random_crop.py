"""Random crops of an image and its mask."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sextant.errors import InputError


@dataclass(frozen=True)
class RandomCrop:
    """Random scaling, cropping, flipping and change of color of training images, with their masks.

    Only the crop is resampled, not the whole image.

    Args:
        crop_size: side of the square crop in pixels. A scaled image that is smaller is placed at random in the crop.
        scales: lowest and highest factor by which images are scaled; uniform between them.
        flip: mirror half of the crops.
        color_jitter: crops change in brightness, contrast and saturation by up to this fraction.

    Raises:
        InputError: a setting is out of range.
    """

    crop_size: int = 513
    scales: tuple[float, float] = (0.5, 2.0)
    flip: bool = True
    color_jitter: float = 0.0

    def __post_init__(self) -> None:
        if self.crop_size < 1:
            raise InputError(f"data.augmentation.crop_size is {self.crop_size}; it must be 1 or more.")
        if not 0 < self.scales[0] <= self.scales[1]:
            raise InputError(
                f"data.augmentation.scales is {list(self.scales)}; it must be two factors above 0, the lower one first."
            )
        if not 0 <= self.color_jitter <= 1:
            raise InputError(f"data.augmentation.color_jitter is {self.color_jitter}; it must be between 0 and 1.")

    def __call__(
        self,
        random: np.random.Generator,
        image: Image.Image,
        mask: Image.Image,
        image_crop: NDArray[np.uint8],
        label_crop: NDArray[np.uint8],
    ) -> NDArray[np.float32]:
        """Write a crop into arrays.

        Args:
            random: gives all random numbers.
            image: RGB.
            mask: labels, of the same size.
            image_crop: the array for the image (crop_size, crop_size, 3), filled with the color of its surround.
            label_crop: the array for the labels (crop_size, crop_size), filled with ``IGNORED``.

        Returns:
            Factors of brightness, contrast and saturation, float32 (3,), for the crop.
        """
        factor = random.uniform(*self.scales)
        box, target = [], []
        for side in image.size:
            scaled = max(1, round(side * factor))
            slack = scaled - self.crop_size
            start = int(random.integers(min(0, slack), max(0, slack), endpoint=True))
            inside = max(0, start), min(scaled, start + self.crop_size)
            box.append([edge * side / scaled for edge in inside])
            target.append(slice(inside[0] - start, inside[1] - start))
        (left, right), (top, bottom) = box
        columns, rows = target
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
