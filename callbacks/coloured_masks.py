"""Masks of labels as pictures for people: coloured, laid over the photo, with a legend."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from datamodules.voc_palette import IGNORED, voc_palette
from trainer.errors import InputError

Colours = NDArray[np.uint8]  # of each label, (256, 3)


def choose_colours(classes: Sequence[str], chosen: Mapping[str, str] | None) -> Colours:
    """The colour of each label.

    Args:
        classes: the names of the labels from 0 on.
        chosen: colours by the names of classes, all others being black; None takes the palette of Pascal VOC. A colour
            is a name (``red``) or ``#rrggbb``.

    Raises:
        InputError: there is no such class or colour.
    """
    if chosen is None:
        return voc_palette()
    colours = np.zeros((256, 3), np.uint8)
    for name, colour in chosen.items():
        if name not in classes:
            raise InputError(f"There is no class {name!r} to colour; there are {', '.join(classes)}.")
        try:
            colours[classes.index(name)] = ImageColor.getrgb(colour)[:3]
        except ValueError as error:
            raise InputError(f"{colour!r}, the colour of {name!r}, is neither a known name nor #rrggbb.") from error
    return colours


def index_mask(mask: NDArray[np.uint8]) -> Image.Image:
    """A mask of labels (H, W) as a palette picture in the colours of Pascal VOC."""
    picture = Image.fromarray(mask).convert("P")
    picture.putpalette(voc_palette().tobytes())
    return picture


def overlay(picture: NDArray[np.uint8], mask: NDArray[np.uint8], colours: Colours, opacity: float = 0.6) -> Image.Image:
    """Blend the colours of a mask into a picture; black ones, and pixels that do not count, leave it as it is.

    Args:
        picture: (H, W, 3).
        mask: labels (H, W).
        colours: as of :func:`choose_colours`.
        opacity: share of the colours.
    """
    shares = np.where(colours.any(-1), opacity, 0).astype(np.float32)
    shares[IGNORED] = 0
    return Image.fromarray(
        (picture + shares[mask][..., None] * (colours[mask].astype(np.float32) - picture)).astype(np.uint8)
    )


def add_legend(picture: Image.Image, mask: NDArray[np.uint8], classes: Sequence[str], colours: Colours) -> Image.Image:
    """Write the coloured classes that occur in a mask into the upper left corner of its picture, the largest first."""
    counts = np.bincount(mask.ravel(), minlength=256)
    shown = [label for label in np.argsort(-counts) if counts[label] and label < len(classes) and colours[label].any()]
    height = int(np.clip(picture.height / 22, 8, 40))
    font = ImageFont.load_default(0.8 * height)
    lines = [f"{classes[label]} {counts[label] / mask.size:.1%}" for label in shown]
    if lines:
        box = Image.new("RGB", (round(max(map(font.getlength, lines)) + 2 * height), len(lines) * height + 4), "white")
        draw = ImageDraw.Draw(box)
        for line, (label, text) in enumerate(zip(shown, lines, strict=True)):
            top = 2 + line * height
            draw.rectangle((3, top + 2, height, top + height - 2), tuple(colours[label].tolist()), "black")
            draw.text((1.4 * height, top + height / 2), text, "black", font, anchor="lm")
        picture.paste(Image.blend(picture.crop((0, 0, *box.size)), box, 0.8), (0, 0))
    return picture
