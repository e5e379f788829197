"""Text files are read by one rule, and what is no text in UTF-8 is named with what to do."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sextant.errors import InputError
from sextant.files.text_file import BLOCK, byte_lines, entries, read_text, sized_lines
from tests.mutations import fuzz

TEXT = "one\ntwo \u00e9\nthree\n"
READERS: list[Callable[[Path], object]] = [
    read_text,
    lambda file: list(sized_lines(file)),
    lambda file: list(entries(file, "a word")),
]


def written(folder: Path, content: bytes | str, name: str = "list.txt") -> Path:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def image(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, kind)
    return file.getvalue()


def zip_archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("list.txt", TEXT)
    return file.getvalue()


def tar_archive() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("list.txt"), io.BytesIO())
    return file.getvalue()


@settings(max_examples=300, deadline=None)
@given(content=st.text(st.sampled_from("ab\r\n\u2028\x0b\x85"), max_size=30))
def test_lines_and_their_ends_are_those_of_python(tmp_path_factory: pytest.TempPathFactory, content: str) -> None:
    file = written(tmp_path_factory.getbasetemp(), content)
    expected = io.StringIO(content, newline="").readlines()
    assert list(sized_lines(file)) == [(line, len(line.encode())) for line in expected]
    assert list(byte_lines(file)) == [line.encode() for line in expected]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize("short", range(3))
def test_line_ends_at_the_border_of_two_blocks_count_once(tmp_path: Path, end: str, short: int) -> None:
    first, second = "a" * (BLOCK - short), "b" * (2 * BLOCK + 5)
    lines = [line for line, _ in sized_lines(written(tmp_path, f"{first}{end}{second}{end}c"))]
    assert lines == [first + end, second + end, "c"]


def test_reading_begins_and_ends_at_the_bytes_that_are_asked_for(tmp_path: Path) -> None:
    file = written(tmp_path, "a\nbc\nd\xe9\nf\n".encode())
    assert list(sized_lines(file, 2, 5)) == [("bc\n", 3)]
    assert list(sized_lines(file, 5)) == [("d\xe9\n", 4), ("f\n", 2)]
    file.write_bytes(b"a\nbc\nd\xe9\nf\n")
    with pytest.raises(InputError, match=rf"{file.name}:3: not UTF-8 at byte 6 \(0xe9\)"):
        list(sized_lines(file, 5, first=3))


@pytest.mark.parametrize("change", [str, lambda t: t.replace("\n", "\r\n"), lambda t: t.replace("\n", "\r")])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("more", ["", "\n", "\n \n\t\n", "   "])
def test_mark_line_ends_and_blank_last_lines_do_not_count_where_a_line_stands_for_something(
    tmp_path: Path, change: Callable[[str], str], mark: str, more: str
) -> None:
    file = written(tmp_path, mark + change(TEXT + more))
    assert list(entries(file, "a word")) == [(1, "one"), (2, "two \u00e9"), (3, "three")]


@pytest.mark.parametrize("blank", ["", " ", "\t"])
def test_blank_line_before_another_one_is_named_with_what_a_line_is(tmp_path: Path, blank: str) -> None:
    file = written(tmp_path, f"one\n{blank}\n{blank}\ntwo\n\n")
    with pytest.raises(InputError, match="the line is blank, but each line is a word") as error:
        list(entries(file, "a word"))
    assert str(error.value).startswith(f"{file}:2: ")


def test_mark_is_left_out_at_the_start_of_a_file_alone(tmp_path: Path) -> None:
    file = written(tmp_path, "\ufeff\ufeffa\n\ufeffb\n")
    assert read_text(file) == "\ufeffa\n\ufeffb\n"
    assert [line for line, _ in sized_lines(file)] == ["\ufeffa\n", "\ufeffb\n"]


OTHER_FORMATS = [
    (TEXT.encode("utf-16"), "text in UTF-16", "iconv -f UTF-16 -t UTF-8 list.txt"),
    (b"\xfe\xff" + TEXT.encode("utf-16-be"), "text in UTF-16", "iconv -f UTF-16 -t UTF-8 list.txt"),
    (TEXT.encode("utf-32"), "text in UTF-32", "iconv -f UTF-32 -t UTF-8 list.txt"),
    (gzip.compress(TEXT.encode()), "a gzip file", "gunzip list.txt"),
    (bz2.compress(TEXT.encode()), "a bzip2 file", "bunzip2 list.txt"),
    (bz2.compress(b""), "a bzip2 file", "bunzip2 list.txt"),
    (lzma.compress(TEXT.encode()), "an xz file", "unxz list.txt"),
    (zip_archive(), "a zip archive", "unzip list.txt"),
    (tar_archive(), "a tar archive", "tar -xf list.txt"),
    *((image(kind), "an image", "Give the text file") for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")),
    (b"%PDF-1.7\n%\xe2\xe3", "a PDF document", "Save its text"),
    (b"<!DOCTYPE html>\n<html>404</html>", "an HTML page", "get the file anew"),
    (b"\n <HTML lang='en'>\n", "an HTML page", "get the file anew"),
    (b"<!-- moved --><html><body>", "an HTML page", "get the file anew"),
    (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "an XML document", "get the file anew"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a pointer of Git LFS", "git lfs pull"),
]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(("content", "kind", "advice"), OTHER_FORMATS, ids=range(len(OTHER_FORMATS)))
def test_other_format_is_named_by_its_first_bytes_with_advice_that_fits(
    tmp_path: Path, read: Callable[[Path], object], content: bytes, kind: str, advice: str
) -> None:
    file = written(tmp_path, content)
    with pytest.raises(InputError, match=f": it is {kind}") as error:
        read(file)
    assert str(error.value).startswith(f"{file}: ")
    assert advice in str(error.value)


@pytest.mark.parametrize(
    "text", ["BM", "BZh9", "PKW", "7zip", "<a> tag", "html", "GIF images", "II*", "RIFF", "%PD", ""]
)
def test_text_that_begins_like_another_format_is_text(tmp_path: Path, text: str) -> None:
    assert read_text(written(tmp_path, text)) == text


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
@pytest.mark.parametrize(
    ("bad", "complaint"), [(b"\xe9", r"not UTF-8 at byte {} \(0xe9\)"), (b"\0", "a NUL at byte {},")]
)
def test_wrong_byte_is_named_with_file_line_and_place(
    tmp_path: Path, read: Callable[[Path], object], end: bytes, bad: bytes, complaint: str
) -> None:
    before = b"one" + end + b"tw\xc3\xa9 "
    file = written(tmp_path, before + bad + end + b"three" + end)
    with pytest.raises(InputError, match=complaint.format(len(before))) as error:
        read(file)
    assert str(error.value).startswith(f"{file}:2: ")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_text_of_two_bytes_a_character_without_a_mark_gets_advice(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(InputError, match="If the file is in UTF-16"):
        read_text(written(tmp_path, "one\ntwo\n".encode(encoding)))


@pytest.mark.parametrize("read", READERS)
def test_file_that_cannot_be_read_is_named(tmp_path: Path, read: Callable[[Path], object]) -> None:
    for file in (tmp_path / "missing.txt", tmp_path, tmp_path / ("long" * 100), tmp_path / "a\0b"):
        with pytest.raises(InputError, match="cannot be read") as error:
            read(file)
        assert str(error.value).startswith(f"{file}: ")


def test_what_reads_lines_may_stop_at_any_of_them(tmp_path: Path) -> None:
    lines: Iterator[tuple[str, int]] = sized_lines(written(tmp_path, b"one\n\xff\n"))
    assert next(lines) == ("one\n", 4)


@fuzz(300)
@given(content=st.binary(max_size=60))
def test_any_bytes_are_text_or_an_input_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = written(tmp_path_factory.getbasetemp(), content, "any.txt")
    try:
        text = read_text(file)
    except InputError:
        with pytest.raises(InputError):
            list(sized_lines(file))
        return
    assert text == content.decode("utf-8-sig")
    assert "".join(line for line, _ in sized_lines(file)) == text
