"""Text files in UTF-8, line by line: one rule for all that are read."""

import string
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from sextant.errors import InputError
from sextant.files.signatures import LONGEST, describe

BLOCK = 2**20  # bytes that are read at a time
BYTE_ORDER_MARK = "\ufeff"


def sized_lines(file: Path, start: int = 0, stop: int | None = None, first: int = 1) -> Iterator[tuple[str, int]]:
    """The lines of a text file with their ends, each with its size in bytes, in memory for one block.

    A line ends at a line feed, a carriage return or both, as it does for Python. A byte order mark is left out.

    Args:
        file: in UTF-8.
        start: byte at which to begin, at the start of a line.
        stop: byte at which to end; without it, the end of the file.
        first: the number of the line at ``start``.

    Raises:
        InputError: the file cannot be read, or it is not text; the message names the line and the first wrong byte.
    """
    position = start
    for number, line in enumerate(byte_lines(file, start), first):
        if stop is not None and position >= stop:
            return
        text = _decode(line, str(file), file.name, position, number)
        yield text.removeprefix(BYTE_ORDER_MARK) if position == 0 else text, len(line)
        position += len(line)


def byte_lines(file: Path, start: int = 0) -> Iterator[bytes]:
    """The lines of a text file with their ends, as they are in the file.

    Args:
        file: in UTF-8, which is not checked.
        start: byte at which to begin, at the start of a line.

    Raises:
        InputError: the file cannot be read, or its first bytes are those of another format.
    """
    with _opened(file) as opened:
        _refuse_other_formats(opened.peek(LONGEST)[:LONGEST], str(file), file.name)
        if start:
            opened.seek(start)
        yield from _split(opened)


def entries(file: Path, meaning: str) -> Iterator[tuple[int, str]]:
    """The lines of a file whose every line stands for something, with their numbers from 1 on and without their ends.

    Blank lines at the end of the file stand for nothing.

    Args:
        file: in UTF-8.
        meaning: what a line is, with an article, for the error.

    Raises:
        InputError: as :func:`sized_lines`, or there is a blank line before the last one that is not.
    """
    blank = None
    for number, (line, _) in enumerate(sized_lines(file), 1):
        if not line.strip(string.whitespace):
            blank = blank or number
        elif blank is None:
            yield number, line.rstrip("\r\n")
        else:
            raise InputError(
                f"{file}:{blank}: the line is blank, but each line is {meaning}. Remove it, or put back what is "
                "missing; only at the end of the file blank lines are left out."
            )


def read_text(file: Path) -> str:
    """A text file as a whole, without a byte order mark.

    Raises:
        InputError: as :func:`sized_lines`.
    """
    with _opened(file) as opened:
        content = opened.read()
    return decode_text(content, str(file), file.name)


def decode_text(content: bytes, where: str, name: str) -> str:
    """The contents of a text file, without a byte order mark.

    Args:
        content: in UTF-8.
        where: by which a person finds it, such as its path.
        name: of the file, for advice.

    Raises:
        InputError: it is not text; the message names the line and the first wrong byte.
    """
    _refuse_other_formats(content[:LONGEST], where, name)
    return _decode(content, where, name, 0, 1).removeprefix(BYTE_ORDER_MARK)


@contextmanager
def _opened(file: Path) -> Iterator[BufferedReader]:
    try:
        with file.open("rb") as opened:
            yield opened
    except InputError:
        raise
    except (OSError, ValueError) as error:  # a ValueError is for a name with a NUL
        raise InputError(f"{file}: cannot be read ({getattr(error, 'strerror', None) or error}).") from error


def _split(opened: BufferedReader) -> Iterator[bytes]:
    """The lines of an open file, with their ends."""
    parts: list[bytes] = []  # of a line that goes on in the next block
    while block := opened.read(BLOCK):
        if block.endswith(b"\r") and opened.peek(1)[:1] == b"\n":
            block += opened.read(1)
        for line in block.splitlines(keepends=True):  # of bytes: at \n, \r and \r\n alone
            parts.append(line)
            if line.endswith((b"\n", b"\r")):
                yield b"".join(parts)
                parts.clear()
    if parts:
        yield b"".join(parts)


def _refuse_other_formats(start: bytes, where: str, name: str) -> None:
    if found := describe(start, name):
        raise InputError(f"{where}: {found}.")


def _decode(content: bytes, where: str, name: str, position: int, line: int) -> str:
    """Decode a line, or several.

    Args:
        content: the bytes.
        where: by which a person finds the file.
        name: of the file, for advice.
        position: of the first byte in the file.
        line: the number of the first line.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line += len((content[: error.start] + b".").splitlines()) - 1
        raise InputError(
            f"{where}:{line}: not UTF-8 at byte {position + error.start} (0x{content[error.start]:02x}). Convert the "
            f"file, for instance with: iconv -f LATIN1 -t UTF-8 {name}"
        ) from error
    if "\0" in text:
        at = content.index(b"\0")
        line += len((content[:at] + b".").splitlines()) - 1
        raise InputError(
            f"{where}:{line}: a NUL at byte {position + at}, which no text in UTF-8 has. If the file is in UTF-16, "
            f"convert it with: iconv -f UTF-16LE -t UTF-8 {name}; if it is damaged, get it anew."
        )
    return text
