"""The palette is that of Pascal VOC's masks."""

import numpy as np

from datamodules.images.voc_palette import IGNORED, voc_palette


def test_first_colors_are_those_of_the_development_kit() -> None:
    # background, aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair
    expected = [
        *((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128)),
        *((128, 0, 128), (0, 128, 128), (128, 128, 128), (64, 0, 0), (192, 0, 0)),
    ]
    assert list(map(tuple, voc_palette()[: len(expected)].tolist())) == expected
    assert voc_palette()[20].tolist() == [0, 64, 128]  # tvmonitor
    assert voc_palette()[IGNORED].tolist() == [224, 224, 192]


def test_every_label_has_a_color_of_its_own() -> None:
    palette = voc_palette()
    assert (palette.shape, palette.dtype) == ((256, 3), np.uint8)
    assert len(np.unique(palette, axis=0)) == 256
