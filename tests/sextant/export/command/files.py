"""What exported files of small images are compared with."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def described(file: Path) -> dict[str, Any]:
    return json.loads(Path(f"{file}.json").read_text())


def validation_images(root: Path) -> list[Tensor]:
    """Red, green, blue uint8 (1, H, W, 3)."""
    names = (root / "ImageSets" / "Segmentation" / "val.txt").read_text().split()
    return [
        torch.from_numpy(np.array(Image.open(root / "JPEGImages" / f"{name}.jpg").convert("RGB")))[None]
        for name in names
    ]


def sorted_images(root: Path) -> list[Tensor]:
    """The validation images in the order of their names."""
    names = (root / "ImageSets" / "Segmentation" / "val.txt").read_text().split()
    images = dict(zip(names, validation_images(root), strict=True))
    return [images[name] for name in sorted(images)]


def normalized(pixels: Tensor) -> Tensor:
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((pixels / 255 - mean) / std).permute(0, 3, 1, 2)
