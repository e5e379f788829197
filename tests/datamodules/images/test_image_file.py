"""Images are read alike from files and from their contents, and what is no whole image is an error that says why.

What becomes of modes, sizes and orientations is tested with the arrays that are built of them.
"""

import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from datamodules.images.image_file import InvalidImageError, list_images, read_image
from sextant.errors import InputError
from tests.mutations import fuzz
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
    "avif": encoded("AVIF"),
    "tiff": encoded("TIFF", "RGBA"),
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


@pytest.mark.parametrize(
    ("kind", "numbers", "bits"),
    [
        ("TIFF", np.float32, "floating-point numbers"),
        ("TIFF", np.int32, "integers of 32 bits"),
        ("PFM", np.float32, "floating-point numbers"),
        ("IM", np.int32, "integers of 32 bits"),
    ],
)
@pytest.mark.parametrize("largest", [1, 255, 65535])
def test_image_of_numbers_whose_range_is_unknown_is_refused(kind: str, numbers: type, bits: str, largest: int) -> None:
    """As 8 bits, it would be black or white."""
    file = BytesIO()
    Image.fromarray(np.linspace(0, largest, 64).reshape(8, 8).astype(numbers)).save(
        file, "PPM" if kind == "PFM" else kind
    )
    with pytest.raises(InvalidImageError, match=f"its pixels are {bits} .* Save it with 8 or 16 bits"):
        read_image(file.getvalue())


GRAY = np.linspace(0, 255, 64).reshape(8, 8).round().astype(np.uint8)


def wide_tiff(bits: int, inverted: bool, order: str) -> bytes:
    """A TIFF file of 16 bits, or of 12 that are packed, with shades of gray from black to white."""
    white = 2**bits - 1
    values = (GRAY / 255 * white).round().astype(np.uint16)
    values = white - values if inverted else values
    if bits == 16:
        pixels = values.astype(f"{order}u2").tobytes()
    else:
        pairs = values.reshape(-1, 2).astype(np.uint32)
        pixels = b"".join(int(a << 12 | b).to_bytes(3, "big") for a, b in pairs)
    fields = [(256, 8), (257, 8), (258, bits), (259, 1), (262, 0 if inverted else 1), (273, 8), (277, 1), (278, 8)]
    fields.append((279, len(pixels)))
    at = struct.Struct(f"{order}HHII")
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(pixels))
    entries = b"".join(at.pack(tag, 4, 1, value) for tag, value in fields)
    return start + pixels + struct.pack(f"{order}H", len(fields)) + entries + bytes(4)


@pytest.mark.parametrize(
    ("bits", "inverted", "order"), [(16, False, "<"), (16, False, ">"), (16, True, "<"), (12, False, "<")]
)
def test_grayscale_of_more_than_8_bits_keeps_its_shades(bits: int, inverted: bool, order: str) -> None:
    found = np.asarray(read_image(wide_tiff(bits, inverted, order)))
    np.testing.assert_allclose(found, np.stack([GRAY] * 3, axis=2), atol=1)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM", "JPEG2000"])
@pytest.mark.parametrize("brightest", [1, 255])
def test_16_bits_with_values_of_8_are_refused_instead_of_read_as_black(form: str, brightest: int) -> None:
    file = BytesIO()
    Image.fromarray(np.full((8, 8), brightest, np.uint16)).save(file, form)
    with pytest.raises(InvalidImageError, match=r"have 16 bits, but none is above 255, .* save it with 8 bits"):
        read_image(file.getvalue())


@pytest.mark.parametrize("brightest", [0, 256])
def test_16_bits_that_are_black_or_dark_are_read_by_their_bits(brightest: int) -> None:
    """Whatever the brightest value is, white is 65535."""
    file = BytesIO()
    Image.fromarray(np.full((8, 8), brightest, np.uint16)).save(file, "PNG")
    assert np.unique(np.asarray(read_image(file.getvalue()))).tolist() == [round(brightest / 65535 * 255)]


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(("form", "largest"), [("PNG", 65535), ("TIFF", 65535), ("PPM", 65535)])
def test_16_bits_are_turned_and_scaled(orientation: int, form: str, largest: int) -> None:
    if form == "PPM" and orientation != 1:
        pytest.skip("it has no EXIF data")
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = BytesIO()
    values = GRAY.astype(np.uint16) * 257
    Image.fromarray(values).save(file, form, **({} if form == "PPM" else {"exif": exif}))
    expected = np.rot90(GRAY, -1) if orientation == 6 else GRAY
    np.testing.assert_array_equal(np.asarray(read_image(file.getvalue()))[:, :, 0], expected)


@pytest.mark.parametrize(
    ("image", "form"),
    [
        (Image.new("RGBA", (4, 4), (0, 0, 0, 0)), "PNG"),
        (Image.new("LA", (4, 4), (0, 0)), "PNG"),
        (Image.new("LA", (4, 4), (0, 0)), "TIFF"),
        (Image.new("RGBA", (4, 4), (0, 0, 0, 0)), "WEBP"),
        (Image.new("RGBA", (4, 4), (0, 0, 0, 0)).quantize(2), "PNG"),
        (Image.new("RGBA", (4, 4), (0, 0, 0, 0)), "GIF"),
    ],
)
def test_what_is_transparent_lies_on_white(image: Image.Image, form: str) -> None:
    """A drawing in black on nothing would be black all over."""
    file = BytesIO()
    image.save(file, form, **({"exact": True} if form == "WEBP" else {}))
    assert (np.asarray(read_image(file.getvalue())) == 255).all()


def test_half_transparent_color_lets_half_of_the_white_through() -> None:
    file = BytesIO()
    Image.new("RGBA", (4, 4), (200, 0, 100, 128)).save(file, "PNG")
    np.testing.assert_allclose(np.asarray(read_image(file.getvalue()))[0, 0], [227, 127, 177], atol=1)


def test_first_page_of_several_is_taken() -> None:
    file = BytesIO()
    Image.new("RGB", (4, 4), "red").save(file, "TIFF", save_all=True, append_images=[Image.new("RGB", (9, 9), "blue")])
    found = read_image(file.getvalue())
    assert (found.size, found.getpixel((0, 0))) == ((4, 4), (255, 0, 0))


@pytest.mark.parametrize("form", ["EPS", "WMF"])
def test_what_another_program_would_have_to_draw_is_no_image(form: str) -> None:
    content = b"\xd7\xcd\xc6\x9a" + bytes(60)
    if form == "EPS":
        content = encoded("EPS")
    with pytest.raises(InvalidImageError, match="cannot identify image file"):
        read_image(content)


def test_images_of_a_folder_are_listed_by_name_without_other_files(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPEG", "c.webp", "notes.txt", "png", ".png.part"):
        (tmp_path / name).write_bytes(b"")
    assert [file.name for file in list_images(tmp_path)] == ["a.JPEG", "b.png", "c.webp"]


WRITABLE = [
    "jpg",
    "jfif",
    "jpe",
    "png",
    "apng",
    "bmp",
    "dib",
    "gif",
    "tif",
    "webp",
    "jp2",
    "tga",
    "ppm",
    "pgm",
    "qoi",
    "ico",
]


@pytest.mark.parametrize("suffix", WRITABLE)
@pytest.mark.parametrize("change", [str.lower, str.upper])
def test_every_suffix_of_an_image_that_can_be_read_is_listed(
    tmp_path: Path, suffix: str, change: Callable[[str], str]
) -> None:
    file = tmp_path / f"a.{change(suffix)}"
    Image.fromarray(noise(0, 20, 30, 3)).save(file)
    assert list_images(tmp_path) == [file]
    assert read_image(file).mode == "RGB"


@pytest.mark.parametrize("suffix", [".heic", ".HEIC", ".svg", ".nef", ".dng", ".eps", ".jxl"])
def test_image_that_cannot_be_read_is_listed_and_named_with_what_to_do(tmp_path: Path, suffix: str) -> None:
    """Even where it holds a small preview, as raw photos do."""
    (tmp_path / f"a{suffix}").write_bytes(encoded("TIFF"))
    (file,) = list_images(tmp_path)
    with pytest.raises(InvalidImageError, match=rf"images in \{suffix.lower()} are not supported\. Convert it"):
        read_image(file)


@pytest.mark.parametrize("name", ["a\0b", "long" * 100])
def test_name_that_no_file_can_have_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="there is no such folder"):
        list_images(tmp_path / name)
    with pytest.raises(InvalidImageError, match=r"embedded null byte|File name too long"):
        read_image(tmp_path / f"{name}.png")


@fuzz(200)
@given(kind=st.sampled_from(sorted(CONTENTS)), data=st.data())
def test_damaged_image_is_read_or_an_error_that_says_why(kind: str, data: st.DataObject) -> None:
    content = bytearray(CONTENTS[kind])
    for place, byte in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=6)
    ):
        content[place] = byte
    try:
        found = read_image(bytes(content[: data.draw(st.integers(0, len(content)))]))
    except InvalidImageError:
        return
    assert found.mode == "RGB"


@pytest.mark.parametrize(("name", "complaint"), [("missing", "there is no such folder"), (".", "holds no image")])
def test_folder_without_images_is_named(tmp_path: Path, name: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as error:
        list_images(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)
