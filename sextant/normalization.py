"""The inverse of the normalization of images."""

from collections.abc import Sequence

import torch
from torch import Tensor


def denormalize(image: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Undo the normalization by mean and deviation of each channel: float (B, C, H, W) to uint8 (B, C, H, W)."""
    means, deviations = image.new_tensor(mean), image.new_tensor(std)
    return (image * deviations[:, None, None] + means[:, None, None]).mul(255).round().clamp(0, 255).to(torch.uint8)
