"""Masks for tests."""

from pathlib import Path

import numpy as np
from PIL import Image

from datamodules.images.voc_palette import voc_palette


def save_mask(file: Path, labels: np.ndarray) -> None:
    """Write labels uint8 (H, W) as a palette image."""
    mask = Image.fromarray(labels).convert("P")
    mask.putpalette(voc_palette().tobytes())
    mask.save(file)
