"""The normalization of images: ImageNet's numbers, and how it is undone."""

from collections.abc import Sequence

import torch
from torch import Tensor

# So that pretrained weights see what they were trained on (torchvision's presets).
IMAGENET_MEAN = [0.485, 0.456, 0.406]
IMAGENET_STD = [0.229, 0.224, 0.225]


def denormalize(image: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Undo the normalization by mean and deviation of each channel: float (B, C, H, W) to uint8 (B, C, H, W)."""
    means, deviations = image.new_tensor(mean), image.new_tensor(std)
    return (image * deviations[:, None, None] + means[:, None, None]).mul(255).round().clamp(0, 255).to(torch.uint8)
