"""Random changes to whole batches of images on their device, drawn for each image on its own.

torchvision's v2 transforms draw once for a batch; these draw once for each image in it. What is drawn comes
from the CPU's generator, so that it is the same on every device.
"""

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import rgb_to_grayscale


def random_flip(images: Tensor) -> Tensor:
    """Mirror each image of (B, C, H, W) left to right with probability 1/2."""
    mirrored = (torch.rand(len(images)) < 0.5).to(images.device)
    return torch.where(mirrored[:, None, None, None], images.flip(-1), images)


def random_crop(images: Tensor, padding: int) -> Tensor:
    """Shift each image of (B, C, H, W) by up to ``padding`` pixels each way; mirrored pixels fill the rim."""
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
