"""Image files of any mode, read as RGB."""

import os
import struct
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from sextant.errors import InputError

SUFFIXES = {".jpeg", ".jpg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"}


class InvalidImageError(Exception):
    """An image that is damaged, not whole or of a format that is not supported; the message says why."""


def read_image(source: Path | bytes) -> Image.Image:
    """An image of any mode, read as RGB and turned as its EXIF orientation says.

    Args:
        source: a file, or its contents.

    Raises:
        InvalidImageError: the image is damaged, or it is none.
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
            message += " Make the image smaller, or crop it"
        raise InvalidImageError(f"{type(error).__name__}: {message}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits, which Pillow would clip at 255
        image = Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
    return image.convert("RGB")


def list_images(folder: Path) -> list[Path]:
    """The image files of a folder, sorted by name.

    Raises:
        InputError: the folder does not exist or has no image.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder. Check --data.root (or --data.images).")
    shown = (name for name in os.listdir(folder) if not name.startswith("."))
    names = sorted(name for name in shown if os.path.splitext(name)[1].lower() in SUFFIXES)
    if not names:
        raise InputError(f"{folder}: the folder holds no image ({', '.join(sorted(SUFFIXES))}). Add some or remove it.")
    return [folder / name for name in names]
