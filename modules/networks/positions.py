"""Positional encodings: sinusoidal and rotary."""

import math

import torch
from torch import Tensor


def sinusoids(positions: Tensor, size: int) -> Tensor:
    """Sinusoidal positions (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.5).

    Args:
        positions: float (T,).
        size: features, even; sines at the even ones, cosines at the odd ones.

    Returns:
        Float (T, size).
    """
    rates = torch.exp(torch.arange(0, size, 2, device=positions.device) * (-math.log(10000.0) / size))
    angles = positions[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


def rotate(x: Tensor, positions: Tensor) -> Tensor:
    """Rotary positions: rotate pairs of features by angles that grow with the position.

    Source: Su et al. 2021 (https://arxiv.org/abs/2104.09864); feature ``i`` is paired with ``i + size / 2``.

    Args:
        x: (B, heads, T, size), size even.
        positions: float (T,).
    """
    half = x.shape[-1] // 2
    rates = 10000.0 ** (-torch.arange(half, device=x.device) / half)
    angles = positions[:, None] * rates
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)
