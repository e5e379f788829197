"""Images of random pixels."""

from pathlib import Path

import numpy as np
from PIL import Image


def noise(seed: int, *shape: int) -> np.ndarray:
    """Random uint8 pixels, the same for the same seed."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save_images(folder: Path, count: int, suffix: str = "JPEG") -> list[Path]:
    """Write ``count`` different RGB images of 64x64 pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"image_{k}.{suffix}" for k in range(count)]
    for k, file in enumerate(files):
        Image.fromarray(noise(k, 64, 64, 3)).save(file)
    return files
