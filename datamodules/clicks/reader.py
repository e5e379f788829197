"""The files of a click log, read a few megabytes at a time: text, gzipped text or Parquet."""

import csv
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from sextant.errors import InputError

BLOCK = 2**22  # bytes of text that are parsed together
PARQUET_ROWS = 2**15  # rows of Parquet that are
LONGEST_LINE = 2**24  # bytes; a file without line ends is no click log
GZIP_MAGIC = b"\x1f\x8b"
PARQUET = ".parquet"
#: What reading a damaged file raises: gzip's and Parquet's errors, names in Parquet that are not UTF-8.
UNREADABLE = (OSError, EOFError, zlib.error, pa.ArrowException, UnicodeDecodeError)


@dataclass(frozen=True)
class Block:
    """A piece of a file: whole lines or rows.

    Args:
        file: which file.
        first: the number of the first line, from 1 on; in Parquet, of the first row.
        lines: how many lines or rows.
        content: the lines, each with a line feed at its end; or the rows.
        size: bytes of the file that were read for it, for progress bars.
    """

    file: Path
    first: int
    lines: int
    content: bytes | pa.RecordBatch
    size: int


@dataclass(frozen=True)
class ClickFile:
    """A file and the names of its columns.

    Args:
        path: the file: text, plain or gzipped, or Parquet by its suffix.
        columns: the names in the order of the file.
        delimiter: what stands between the columns of text.
        has_header: whether the first line of text holds the names.
    """

    path: Path
    columns: list[str]
    delimiter: str = ","
    has_header: bool = False

    def blocks(self) -> Iterator[Block]:
        """Read the file, in memory for one block.

        Raises:
            InputError: the file cannot be read to its end.
        """
        try:
            yield from _rows(self.path) if self.path.suffix == PARQUET else _lines(self.path, self.has_header)
        except UNREADABLE as error:
            why = getattr(error, "strerror", None) or error
            raise InputError(
                f"{self.path}: cannot be read to its end ({why}). The file may be damaged; get it anew."
            ) from error


def open_click_file(path: Path, columns: list[str] | None = None) -> ClickFile:
    """Find out about the columns of a file.

    Args:
        path: the file.
        columns: names of the columns of text without a header, separated by tabs. If the first line has one column
            less, the first name, that of the label, is left out. Without it the first line of text holds the names,
            separated by tabs in ``.tsv`` and by commas elsewhere.

    Raises:
        InputError: the file is missing, empty or damaged, or two columns have the same name.
    """
    try:
        if path.suffix == PARQUET:
            file = ClickFile(path, pq.read_schema(path).names)
        else:
            with _open_text(path) as text:
                file = _text_file(path, text.readline(LONGEST_LINE), columns)
    except UNREADABLE as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(
            f"{path}: cannot be read ({why}). Check the path; a damaged file is to be got anew."
        ) from error
    twice = sorted({name for name in file.columns if file.columns.count(name) > 1})
    if twice:
        where = path if path.suffix == PARQUET else f"{path}:1"
        raise InputError(f"{where}: several columns are named {twice[0]!r}. Give them different names.")
    return file


def _text_file(path: Path, first: bytes, columns: list[str] | None) -> ClickFile:
    """A file of text by its first line."""
    if not first.strip():
        raise InputError(f"{path}:1: the first line is empty. Give a file with rows, or leave this one out.")
    delimiter = "\t" if columns or ".tsv" in path.suffixes else ","
    if columns:
        return ClickFile(path, columns[1:] if first.count(b"\t") + 2 == len(columns) else columns, delimiter)
    try:
        if b"\r" in first.rstrip(b"\r\n"):
            raise csv.Error("a carriage return stands in the line")
        (names,) = csv.reader([first.decode("utf-8-sig", "replace")], delimiter=delimiter, strict=True)
    except csv.Error as error:
        raise InputError(
            f"{path}:1: the names of the columns cannot be read: {error}. Write them into one line that ends by a line "
            "feed, and quotes in quoted names twice."
        ) from error
    return ClickFile(path, names, delimiter, has_header=True)


def _open_text(path: Path) -> IO[bytes]:
    raw = path.open("rb")
    magic = raw.read(len(GZIP_MAGIC))
    raw.seek(0)
    return gzip.GzipFile(fileobj=raw) if magic == GZIP_MAGIC else raw  # type: ignore[return-value]


def _lines(path: Path, has_header: bool) -> Iterator[Block]:
    with _open_text(path) as text:
        source: IO[bytes] = getattr(text, "fileobj", None) or text  # of a gzipped file, the compressed one
        number, place, left = 1, 0, b""
        if has_header:
            text.readline(LONGEST_LINE)
            number = 2
        while True:
            read = text.read(BLOCK)
            if not read and left:
                read = b"\n"  # the last line has no end
            if not read:
                return
            end = read.rfind(b"\n") + 1
            if not end:
                left += read
                if len(left) > LONGEST_LINE:
                    raise InputError(
                        f"{path}:{number}: the line is longer than {LONGEST_LINE >> 20} MiB, so this is no click log. "
                        "Give a text file with a row in each line, plain or gzipped, or a Parquet file."
                    )
                continue
            content, left = left + read[:end], read[end:]
            lines = content.count(b"\n")
            yield Block(path, number, lines, content, source.tell() - place)
            number, place = number + lines, source.tell()


def _rows(path: Path) -> Iterator[Block]:
    with pq.ParquetFile(path) as file:
        size, total, number = path.stat().st_size, max(1, file.metadata.num_rows), 1
        for batch in file.iter_batches(PARQUET_ROWS):
            done = number + len(batch)
            part = size * (done - 1) // total - size * (number - 1) // total
            yield Block(path, number, len(batch), batch, part)
            number = done
        rows = file.metadata.num_rows
        if number != rows + 1:
            raise InputError(f"{path}: it is damaged: of its {rows:,} rows {number - 1:,} can be read. Get it again.")
