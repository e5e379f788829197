"""What a benchmark ran on, in one line."""

import torch

from sextant.logs.machine import machine


def describe(data: str) -> str:
    """Say which hardware, which torch and which data the figures below the line are from.

    Args:
        data: what was read, beginning with ``real`` or ``SYNTHETIC``.
    """
    return f"Hardware: {machine()}; torch {torch.__version__}; data: {data}"
