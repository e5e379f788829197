"""Images are read alike from files and from their contents, and what is no whole image is an error that says why.

What becomes of modes, sizes and orientations is tested with the arrays that are built of them.
"""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.images.image_file import InvalidImageError, list_images, read_image
from sextant.errors import InputError
from tests.noise_images import noise


def encoded(form: str = "PNG", mode: str = "RGB", **options: object) -> bytes:
    file = BytesIO()
    Image.fromarray(noise(0, 20, 30, 3)).convert(mode).save(file, form, **options)
    return file.getvalue()


TURNED = Image.Exif()
TURNED[0x0112] = 6

CONTENTS = {
    "png": encoded(),
    "turned jpeg": encoded("JPEG", exif=TURNED),
    "cmyk": encoded("JPEG", "CMYK"),
    "alpha": encoded("PNG", "RGBA"),
    "palette": encoded("GIF", "P"),
    "gray": encoded("WEBP", "L"),
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_contents_give_the_image_that_a_file_of_them_gives(tmp_path: Path, kind: str) -> None:
    (tmp_path / "image").write_bytes(CONTENTS[kind])
    found = read_image(CONTENTS[kind])
    assert found.mode == "RGB"
    assert found.size == ((20, 30) if kind == "turned jpeg" else (30, 20))
    np.testing.assert_array_equal(np.asarray(found), np.asarray(read_image(tmp_path / "image")))


def dds_of_no_format() -> bytes:
    """A DDS file whose pixels are of no format that there is."""
    content = bytearray(encoded("DDS"))
    content[80:84] = bytes(4)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "UnidentifiedImageError: cannot identify image file"),
        (b"<html>404</html>", "UnidentifiedImageError: cannot identify image file"),
        (CONTENTS["png"][:-500], "OSError: .*truncated"),
        (CONTENTS["turned jpeg"][:-200], "OSError: .*truncated"),
        (b"P6 60000 60000 255\n", "DecompressionBombError: "),
        (dds_of_no_format(), "NotImplementedError"),
    ],
)
@pytest.mark.parametrize("from_file", [False, True])
def test_what_is_no_whole_image_is_an_error_that_says_why(
    tmp_path: Path, content: bytes, why: str, from_file: bool
) -> None:
    (tmp_path / "image.png").write_bytes(content)
    with pytest.raises(InvalidImageError, match=why) as error:
        read_image(tmp_path / "image.png" if from_file else content)
    assert " at 0x" not in str(error.value)
    assert str(tmp_path) not in str(error.value)  # who reports it names the file


def test_missing_file_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(InvalidImageError, match="FileNotFoundError"):
        read_image(tmp_path / "missing.png")


def test_images_of_a_folder_are_listed_by_name_without_other_files(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPEG", "c.webp", "notes.txt", "png", ".png.part"):
        (tmp_path / name).write_bytes(b"")
    assert [file.name for file in list_images(tmp_path)] == ["a.JPEG", "b.png", "c.webp"]


@pytest.mark.parametrize(("name", "complaint"), [("missing", "there is no such folder"), (".", "holds no image")])
def test_folder_without_images_is_named(tmp_path: Path, name: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as error:
        list_images(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)
