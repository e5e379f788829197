"""Picture files of any mode, read as RGB."""

import os
import struct
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from trainer.errors import InputError

SUFFIXES = {".jpeg", ".jpg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"}


class UnreadablePictureError(Exception):
    """The data is no whole picture; the message says why."""


def read_picture(source: Path | bytes) -> Image.Image:
    """Read a picture of any mode as RGB, turned as its EXIF orientation says.

    Args:
        source: a file, or its contents.

    Raises:
        UnreadablePictureError: it is no whole picture.
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
            message += " Make the picture smaller, or cut it"
        raise UnreadablePictureError(f"{type(error).__name__}: {message}") from error


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
        picture = Image.fromarray((np.asarray(picture).clip(0, 65535) / 257).round().astype(np.uint8))
    return picture.convert("RGB")


def list_pictures(folder: Path) -> list[Path]:
    """The pictures in a folder, by name.

    Raises:
        InputError: there is no such folder, or there is no picture in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder. Check --data.root (or --data.pictures).")
    shown = (name for name in os.listdir(folder) if not name.startswith("."))
    names = sorted(name for name in shown if os.path.splitext(name)[1].lower() in SUFFIXES)
    if not names:
        raise InputError(
            f"{folder}: the folder holds no picture ({', '.join(sorted(SUFFIXES))}). Add some or remove it."
        )
    return [folder / name for name in names]
