"""The colors of Pascal VOC's masks."""

import numpy as np
from numpy.typing import NDArray

IGNORED = 255  # label of pixels that are neither learned nor measured


def voc_palette() -> NDArray[np.uint8]:
    """The color of each label, uint8 (256, 3).

    A label's bits go to red, green and blue in turn, the lowest to the highest bits of a color, as in the development
    kit's ``VOClabelcolormap.m``: 0 is black, 1 dark red, 2 dark green, 255 a light cream.
    """
    labels = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= ((labels >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
    return palette
