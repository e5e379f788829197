"""The formats of files of predictions: CSV, JSON Lines and Parquet."""

import codecs
import csv
import importlib.util
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from sextant.errors import InputError
from sextant.files.location import Location

GROUP = 2**22  # bytes of rows, as JSON, that become one row group of a Parquet file

NO_JSON = re.compile(b"NaN|Infinity")  # which Python writes, and no other reader takes

Row = dict[str, Any]

_encode = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps makes an encoder for each row


def write_json_lines(rows: Iterable[bytes], file: BinaryIO) -> int:
    """Write rows as they are, one a line; numbers that JSON does not have, NaN and the infinite ones, are null."""
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007 - counted once more after the last
        file.write(_known(row) + b"\n")
    return count


def to_json(row: Any) -> bytes:
    r"""A row as JSON in UTF-8, on one line.

    A name of a file that is not UTF-8 has its bytes as ``\udcXX``, which JSON reads back as the same name.
    """
    return _encode(row).encode(errors="backslashreplace")


def _known(row: bytes) -> bytes:
    """JSON in which a number that it does not have is null; the words for these may also be in a text, which stays."""
    return to_json(json.loads(row, parse_constant=lambda name: None)) if NO_JSON.search(row) else row


def write_csv(rows: Iterable[bytes], file: BinaryIO) -> int:
    """Write a table with a header; lists and dictionaries are JSON in it."""
    table = csv.writer(codecs.getwriter("utf-8")(file, "backslashreplace"))
    count, columns = 0, list[str]()
    for count, row in enumerate(map(json.loads, rows), 1):
        if count == 1:
            columns = list(row)
            table.writerow(columns)
        check_columns(row, columns)
        values = (row[column] for column in columns)
        table.writerow(_known(to_json(v)).decode() if isinstance(v, list | dict) else v for v in values)
    return count


def write_parquet(rows: Iterable[bytes], file: BinaryIO) -> int:
    """Write a table in row groups of bounded size, with lists and structs for lists and dictionaries.

    A first pass over all rows finds the types: a column that begins with nulls has the type of what comes later, one
    of integers and floats has floats, and a struct has the keys of all dictionaries.
    """
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    schema, count, name = pyarrow.schema([]), 0, ""
    columns: list[str] = []
    try:
        for group in _groups(rows):
            columns = columns or list(group[0])
            for row in group:
                check_columns(row, columns)
            for name in columns:
                found = pyarrow.schema([(name, pyarrow.array([row[name] for row in group]).type)])
                schema = pyarrow.unify_schemas([schema, found], promote_options="permissive")
        with ParquetWriter(file, schema) as table:
            for group in _groups(rows):
                arrays = []
                for name in columns:
                    arrays.append(pyarrow.array([row[name] for row in group], schema.field(name).type))
                table.write_table(pyarrow.table(arrays, schema=schema))
                count += len(group)
    except (pyarrow.ArrowException, OverflowError) as error:
        raise InputError(
            f"Column {name!r} of the predictions cannot be one of Parquet's ({error}). Write another format: end "
            "--predictions.output in .csv or .jsonl."
        ) from error
    return count


def check_columns(row: Row, columns: Sequence[str]) -> None:
    """Require that a row of a table has the columns of the first one.

    Raises:
        InputError: it lacks some, or has others.
    """
    if differing := row.keys() ^ set(columns):
        raise InputError(
            f"The prediction of {row.get('file')} has other columns than the first one: {', '.join(sorted(differing))}."
            " A table needs the same in all rows: let predict_step give them, or end --predictions.output in .jsonl."
        )


def _groups(rows: Iterable[bytes]) -> Iterator[list[Row]]:
    """Rows that have about as much text together."""
    group: list[bytes] = []
    size = 0
    for row in rows:
        group.append(row)
        size += len(row)
        if size >= GROUP:
            yield [_read(row) for row in group]
            group, size = [], 0
    if group:
        yield [_read(row) for row in group]


def _read(row: bytes) -> Row:
    values: Row = json.loads(row)
    return _as_utf8(values) if b"\\ud" in row else values


def _as_utf8(value: Any) -> Any:
    """A value in whose texts what is not UTF-8 is written as JSON escapes it."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, list):
        return [_as_utf8(item) for item in value]
    return {key: _as_utf8(item) for key, item in value.items()} if isinstance(value, dict) else value


#: By the suffix of a file, what writes it: it takes rows as JSON, in UTF-8 without line breaks, which can be gone
#: through more than once, and a file that is open for writing, and returns how many rows there are.
FORMATS: dict[str, Callable[[Iterable[bytes], BinaryIO], int]] = {
    ".csv": write_csv,
    ".jsonl": write_json_lines,
    ".parquet": write_parquet,
}

#: Those whose rows all have the same columns.
TABLES = {".csv", ".parquet"}


def check_format(path: Location) -> None:
    """Require that a file can be written in the format that its name asks for.

    Raises:
        InputError: it asks for none that there is, or for Parquet without pyarrow.
    """
    if path.suffix not in FORMATS:
        raise InputError(
            f"--predictions.output={path}: its ending must be one of {', '.join(FORMATS)}, for CSV, JSON Lines or "
            "Parquet."
        )
    if path.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise InputError(
            f"--predictions.output={path}: Parquet needs pyarrow, which is not installed. Install it (pip install "
            "pyarrow), or end the name in .csv or .jsonl."
        )
