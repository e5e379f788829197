"""The size of what is drawn for a log: readable in a card of TensorBoard, without being enlarged."""

import textwrap

from PIL import ImageFont

#: Pixels of a drawing's width, twice those of a card, which shows it on any screen with all its pixels or half of them.
WIDTH = 700
#: Pixels of the height of its letters.
TEXT = 22
#: The dots per inch of matplotlib's figures, the inches of their width, and the points of their letters.
DPI, INCHES, POINTS = 100, WIDTH / 100, TEXT * 72 / 100


def card_font(size: float = TEXT) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font of drawings that are no figures of matplotlib."""
    return ImageFont.load_default(size)


def lines(text: str, width: int, most: int) -> str:
    """A text in lines.

    Args:
        text: the text.
        width: characters of a line.
        most: how many lines; what does not fit is left out, and said to be.
    """
    return "\n".join(textwrap.wrap(text, width, max_lines=most, placeholder=" ..."))


def fitted(text: str, width: float, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """A text, or as much of it as fits into so many pixels."""
    while text and font.getlength(text) > width:
        text = text[:-2].rstrip(".") + "."
    return text
