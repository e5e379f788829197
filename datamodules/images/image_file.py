"""Image files of any mode, read as RGB."""

import os
import struct
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from sextant.errors import InputError

SUFFIXES = {".jpeg", ".jpg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"}


class UnreadableImageError(Exception):
    """The data is no whole image; the message says why."""


def read_image(source: Path | bytes) -> Image.Image:
    """Read an image of any mode as RGB, turned as its EXIF orientation says.

    Args:
        source: a file, or its contents.

    Raises:
        UnreadableImageError: it is no whole image.
    """
    file = BytesIO(source) if isinstance(source, bytes) else source
    try:
        with Image.open(file) as opened:
            return _to_rgb(ImageOps.exif_transpose(opened))
    # What Pillow raises.
    except (OSError, SyntaxError, ValueError, struct.error, NotImplementedError, Image.DecompressionBombError) as error:
        name, instead = (f" {file}", "") if isinstance(source, bytes) else (str(source), "file")
        message = str(error).replace(name, instead)
        if isinstance(error, Image.DecompressionBombError):
            message += " Make the image smaller, or cut it"
        raise UnreadableImageError(f"{type(error).__name__}: {message}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
        image = Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
    return image.convert("RGB")


def list_images(folder: Path) -> list[Path]:
    """The images in a folder, by name.

    Raises:
        InputError: there is no such folder, or there is no image in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder. Check --data.root (or --data.images).")
    shown = (name for name in os.listdir(folder) if not name.startswith("."))
    names = sorted(name for name in shown if os.path.splitext(name)[1].lower() in SUFFIXES)
    if not names:
        raise InputError(f"{folder}: the folder holds no image ({', '.join(sorted(SUFFIXES))}). Add some or remove it.")
    return [folder / name for name in names]
