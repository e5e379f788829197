"""Masks of labels as images for people: colored, laid over the photo, with a legend."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from datamodules.images.voc_palette import IGNORED, voc_palette
from sextant.errors import InputError

Colors = NDArray[np.uint8]  # of each label, (256, 3)


@runtime_checkable
class SegmentsImages(Protocol):
    """A module that gives each pixel of an image a class."""

    def pixel_class_names(self) -> Sequence[str]:
        """The names of the classes, in the order of the labels."""


def choose_colors(classes: Sequence[str], chosen: Mapping[str, str] | None) -> Colors:
    """The color of each label.

    Args:
        classes: the names of the labels from 0 on.
        chosen: colors by the names of classes, all others being black; None takes the palette of Pascal VOC. A color
            is a name (``red``) or ``#rrggbb``.

    Raises:
        InputError: there is no such class or color.
    """
    if chosen is None:
        return voc_palette()
    colors = np.zeros((256, 3), np.uint8)
    for name, color in chosen.items():
        if name not in classes:
            raise InputError(f"There is no class {name!r} to color; there are {', '.join(classes)}.")
        try:
            colors[classes.index(name)] = ImageColor.getrgb(color)[:3]
        except ValueError as error:
            raise InputError(f"{color!r}, the color of {name!r}, is neither a known name nor #rrggbb.") from error
    return colors


def index_mask(mask: NDArray[np.uint8]) -> Image.Image:
    """A mask of labels (H, W) as a palette image in the colors of Pascal VOC."""
    image = Image.fromarray(mask).convert("P")
    image.putpalette(voc_palette().tobytes())
    return image


def overlay(image: NDArray[np.uint8], mask: NDArray[np.uint8], colors: Colors, opacity: float = 0.6) -> Image.Image:
    """Blend the colors of a mask into an image; black ones, and pixels that do not count, leave it as it is.

    Args:
        image: (H, W, 3).
        mask: labels (H, W).
        colors: as of :func:`choose_colors`.
        opacity: weight of the colors, in [0, 1].
    """
    opacities = np.where(colors.any(-1), opacity, 0).astype(np.float32)
    opacities[IGNORED] = 0
    return Image.fromarray(
        (image + opacities[mask][..., None] * (colors[mask].astype(np.float32) - image)).astype(np.uint8)
    )


def add_legend(image: Image.Image, mask: NDArray[np.uint8], classes: Sequence[str], colors: Colors) -> Image.Image:
    """Write the colored classes that occur in a mask into the upper left corner of its image, the largest first."""
    counts = np.bincount(mask.ravel(), minlength=256)
    shown = [label for label in np.argsort(-counts) if counts[label] and label < len(classes) and colors[label].any()]
    height = int(np.clip(image.height / 22, 8, 40))
    font = ImageFont.load_default(0.8 * height)
    lines = [f"{classes[label]} {counts[label] / mask.size:.1%}" for label in shown]
    if lines:
        box = Image.new("RGB", (round(max(map(font.getlength, lines)) + 2 * height), len(lines) * height + 4), "white")
        draw = ImageDraw.Draw(box)
        for line, (label, text) in enumerate(zip(shown, lines, strict=True)):
            top = 2 + line * height
            draw.rectangle((3, top + 2, height, top + height - 2), tuple(colors[label].tolist()), "black")
            draw.text((1.4 * height, top + height / 2), text, "black", font, anchor="lm")
        image.paste(Image.blend(image.crop((0, 0, *box.size)), box, 0.8), (0, 0))
    return image
