"""Image files of any mode, read as RGB."""

import os
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin

from sextant.errors import InputError

Image.init()
#: What Pillow knows by name but decodes with another program's help or not at all.
_STUBS = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
_FORMATS = sorted(set(Image.OPEN) - _STUBS)
_READABLE = {suffix for suffix, form in Image.registered_extensions().items() if form in _FORMATS}
#: Suffixes of images that cannot be read.
UNREADABLE = {
    *(".heic", ".heif", ".hif", ".avif", ".avifs", ".jxl", ".jxr", ".wdp", ".webp", ".jp2", ".j2k", ".jpx"),
    *(".svg", ".svgz", ".eps", ".ps", ".ai", ".wmf", ".emf", ".xcf", ".kra", ".psb", ".exr", ".hdr", ".djvu"),
    *(".dng", ".raw", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".sr2", ".orf", ".rw2", ".raf", ".pef", ".srw"),
    *(".dcm", ".mrw", ".erf", ".3fr", ".iiq", ".x3f"),
} - _READABLE
#: Suffixes of images, the unreadable ones among them, so that they are found and named.
SUFFIXES = _READABLE | UNREADABLE


class InvalidImageError(Exception):
    """An image that is damaged, not whole or of a format that is not supported; the message says why."""


def read_image(source: Path | bytes) -> Image.Image:
    """An image as RGB, turned as its EXIF orientation says; of an animation or several pages, the first.

    Grayscale of 16 bits is scaled to 8, and what is transparent lies on white.

    Args:
        source: a file, or its contents.

    Raises:
        InvalidImageError: the image is damaged, it is none, or its pixels are numbers of an unknown range; also where
            they have 16 bits and values of 8.
    """
    file = BytesIO(source) if isinstance(source, bytes) else source
    suffix = "" if isinstance(source, bytes) else source.suffix.lower()
    if suffix in UNREADABLE:  # some of which hold a small preview that Pillow would read
        raise InvalidImageError(f"images in {suffix} are not supported. Convert it, for instance to PNG or JPEG")
    try:
        with Image.open(file, formats=_FORMATS) as opened:
            return _to_rgb(ImageOps.exif_transpose(opened), *_black_and_white(opened))
    except InvalidImageError:
        raise
    # What a decoder of Pillow's raises depends on the format and the damage.
    except Exception as error:
        name, instead = (f" {file}", "") if isinstance(source, bytes) else (str(source), "file")
        message = str(error).replace(name, instead)
        if isinstance(error, Image.DecompressionBombError):
            message += " Make the image smaller, or crop it"
        raise InvalidImageError(f"{type(error).__name__}: {message}") from error


def _black_and_white(image: Image.Image) -> tuple[int, int]:
    """The values of black and white in grayscale of more than 8 bits, which Pillow would cut off at 255.

    Raises:
        InvalidImageError: they are not known.
    """
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        kind = "floating-point numbers" if image.mode == "F" else "integers of 32 bits or with a sign"
        raise InvalidImageError(
            f"its pixels are {kind} (mode {image.mode}), and which of them is white is not known. Save it with 8 or 16 "
            "bits a channel"
        )
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 0, 65535
    white = 2 ** image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (16,))[0] - 1
    inverted = image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0  # which Pillow heeds up to 8 bits
    return (white, 0) if inverted else (0, white)


def _to_rgb(image: Image.Image, black: int, white: int) -> Image.Image:
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if max(black, white) == 65535 and 0 < values.max() <= 255:
            raise InvalidImageError(
                "its pixels have 16 bits, but none is above 255, so that it would be black. If its values have 8 bits, "
                "save it with 8 bits a channel"
            )
        gray = values.astype(np.float32)
        image = Image.fromarray(((gray - black) / (white - black) * 255).round().astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert("RGB")
    colors = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), colors).convert("RGB")


def list_images(folder: Path) -> list[Path]:
    """The image files of a folder, sorted by name, those that cannot be read included.

    Raises:
        InputError: the folder does not exist or has no image.
    """
    try:
        present = os.listdir(folder)
    except (OSError, ValueError) as error:  # a ValueError is for a name with a NUL
        raise InputError(
            f"{folder}: there is no such folder ({error}). Check --data.root (or --data.images)."
        ) from error
    names = sorted(name for name in present if is_image(name))
    if not names:
        raise InputError(f"{folder}: the folder holds no image, such as a .jpg or .png. Add some or remove it.")
    return [folder / name for name in names]


def is_image(name: str) -> bool:
    """Whether a file that is not hidden is an image by its suffix."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES
