"""An image with a mask."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.images.segmentation import Pair
from tests.datamodules.images.masks import save_mask


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """An image of 30x20 pixels whose red is its mask's label times 40, losslessly; one pixel is ignored."""
    labels = (np.indices((20, 30)).sum(0) // 9).astype(np.uint8)
    pixels = np.stack([40 * labels, labels * 0, labels * 0 + 7], -1)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    labels[3, 4] = 255
    save_mask(tmp_path / "a_mask.png", labels)
    return Pair(tmp_path / "a.png", tmp_path / "a_mask.png")
