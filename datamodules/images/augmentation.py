"""Augmentation of whole batches of images on their device, drawn for each image on its own.

torchvision's v2 transforms draw once for a batch; these draw once for each image in it. Random numbers come from the
CPU's generator, so that they are the same on every device.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import rgb_to_grayscale, to_dtype

from sextant.errors import InputError


@dataclass(frozen=True)
class Augmentation:
    """Random changes of images in training.

    Args:
        crop_padding: images are shifted by up to this many pixels each way.
        flip: mirror half of the images.
        color_jitter: images change in brightness, contrast and saturation by up to this fraction.
        mixup_alpha: blend pairs of images and labels, with a fraction from Beta(alpha, alpha) (Zhang et al. 2018,
            https://arxiv.org/abs/1710.09412); 0 does not.
        cutmix_alpha: paste a rectangle of one image into another, its area from Beta(alpha, alpha) (Yun et al. 2019,
            https://arxiv.org/abs/1905.04899); 0 does not. With both, each batch gets one of the two at random.

    Raises:
        InputError: a setting is out of range.
    """

    crop_padding: int = 8
    flip: bool = True
    color_jitter: float = 0.0
    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0

    def __post_init__(self) -> None:
        for key, value, top in (
            ("crop_padding", self.crop_padding, math.inf),
            ("color_jitter", self.color_jitter, 1),
            ("mixup_alpha", self.mixup_alpha, math.inf),
            ("cutmix_alpha", self.cutmix_alpha, math.inf),
        ):
            if not 0 <= value <= top:
                raise InputError(f"data.augmentation.{key} is {value}; it must be between 0 and {top}.")

    def __call__(self, images: Tensor) -> Tensor:
        """Flip, shift and change the color of each image: uint8 (B, 3, H, W) to float (B, 3, H, W) in [0, 1]."""
        if self.flip:
            images = random_flip(images)
        if self.crop_padding:
            images = random_crop(images, self.crop_padding)
        images = to_dtype(images, torch.float32, scale=True)
        return random_color(images, self.color_jitter) if self.color_jitter else images

    def mixing(self, num_classes: int) -> v2.Transform:
        """The transform of images (B, 3, H, W) and labels int64 (B,) to blended ones and float (B, num_classes)."""
        mixes: list[v2.Transform] = []
        if self.mixup_alpha:
            mixes.append(v2.MixUp(alpha=self.mixup_alpha, num_classes=num_classes))
        if self.cutmix_alpha:
            mixes.append(v2.CutMix(alpha=self.cutmix_alpha, num_classes=num_classes))
        return v2.RandomChoice(mixes) if mixes else v2.Identity()


def random_flip(images: Tensor) -> Tensor:
    """Mirror each image of (B, C, H, W) left to right with probability 1/2."""
    mirrored = (torch.rand(len(images)) < 0.5).to(images.device)
    return torch.where(mirrored[:, None, None, None], images.flip(-1), images)


def random_crop(images: Tensor, padding: int) -> Tensor:
    """Shift each image of (B, C, H, W) by up to ``padding`` pixels each way, with reflection at the border."""
    batch, _, height, width = images.shape
    top, left = torch.randint(0, 2 * padding + 1, (2, batch, 1)).to(images.device)
    # Reflection is done on the coordinates: -1 -> 1, height -> height - 2.
    rows = _reflect(top - padding + torch.arange(height, device=images.device), height)
    columns = _reflect(left - padding + torch.arange(width, device=images.device), width)
    image = torch.arange(batch, device=images.device)[:, None, None]
    # The indexed dimensions come first, the channels last: (B, H, W, C).
    return images.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _reflect(coordinate: Tensor, size: int) -> Tensor:
    coordinate = coordinate.abs()
    return torch.minimum(coordinate, 2 * (size - 1) - coordinate)


def random_color(images: Tensor, strength: float) -> Tensor:
    """Change brightness, contrast and saturation of each image by factors in [1 - strength, 1 + strength].

    Args:
        images: float (B, 3, H, W) in [0, 1].
        strength: between 0 and 1.
    """
    return change_color(images, 1 + strength * (2 * torch.rand(3, len(images)) - 1))


def change_color(images: Tensor, factors: Tensor) -> Tensor:
    """Scale brightness, contrast and saturation of each image, in this order.

    Args:
        images: float (B, 3, H, W) in [0, 1].
        factors: float (3, B), of each of the three and each image; 1 leaves it as it is.
    """
    brightness, contrast, saturation = factors.to(images.device)[..., None, None, None]
    images = (images * brightness).clamp(0, 1)
    gray = rgb_to_grayscale(images)
    images = torch.lerp(gray.mean((-1, -2), keepdim=True), images, contrast).clamp(0, 1)
    return torch.lerp(rgb_to_grayscale(images), images, saturation).clamp(0, 1)
