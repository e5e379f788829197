"""A block of a click log, text or Parquet, parsed into arrays at once, with what is wrong in its invalid rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

from datamodules.clicks.ids import INEXACT, can_be_ids, id_texts, is_text, plain_values
from datamodules.clicks.keys import HEX_DIGITS, Keys, hash_keys, hex_keys, integer_keys
from datamodules.clicks.reader import Block, ClickFile
from sextant.errors import InputError

#: What Arrow reads as a number, or nothing.
NUMBER = r"^([ \t]*[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|(?i:nan|inf|infinity))[ \t]*)?$"
#: Any byte that is not ASCII as a question mark.
ASCII = bytes(range(128)) + b"?" * 128
ValueMapping = Literal["hash", "vocabulary", "ids"]
DenseTransform = Literal["log1p", "log3", "none"]


@dataclass(frozen=True)
class Layout:
    """Which columns of a click log are read, and how.

    Args:
        label: the column of the clicks, 0 or 1.
        dense: numerical columns.
        table_sizes: categorical columns, with the number of rows of the table of each.
        multi_valued: those of them that hold several values.
        separator: what stands between several values in text.
        mapping: how values become rows of a table. ``ids``: they are rows already.
        hexadecimal: whether values are hexadecimal numbers of up to eight digits; otherwise they are ids of any kind,
            see :mod:`~datamodules.clicks.ids`.
        dense_transform: what is done to the numbers, see :func:`transformed`.
    """

    label: str
    dense: tuple[str, ...]
    table_sizes: Mapping[str, int]
    multi_valued: frozenset[str] = frozenset()
    separator: str = "|"
    mapping: ValueMapping = "hash"
    hexadecimal: bool = False
    dense_transform: DenseTransform = "none"

    @property
    def single_valued(self) -> list[str]:
        """The categorical columns that hold one value, in the order of the tables."""
        return [name for name in self.table_sizes if name not in self.multi_valued]


@dataclass(frozen=True)
class Rows:
    """The valid rows of a block, n of them.

    Args:
        labels: uint8 (n,), 0 or 1; None where the file has no labels.
        dense: float32 (n, D), transformed; what is missing is 0 before it is transformed.
        keys: of each categorical column, uint64 (n,), or all values of all rows where there are several.
        lengths: of each column with several values, how many each row has, int64 (n,).
        invalid_rows: by the line number of each invalid row, ascending, what is wrong with it.
    """

    labels: NDArray[np.uint8] | None
    dense: NDArray[np.float32]
    keys: dict[str, Keys]
    lengths: dict[str, NDArray[np.int64]]
    invalid_rows: dict[int, str]


def transformed(dense: NDArray[np.float64], how: DenseTransform) -> NDArray[np.float32]:
    """Compress counts.

    Args:
        dense: finite numbers of any shape, above -3 for ``log3``.
        how: ``log1p``: log(1 + max(x, 0)), as facebookresearch/dlrm does (``data_utils.py`` sets counts below 0 to 0,
            ``dlrm_data_pytorch.py`` takes the logarithm); ``log3``: log(x + 3), as torchrec does for Criteo's 1TB set
            (``torchrec/datasets/criteo.py``); ``none``: nothing.
    """
    if how == "log1p":
        return np.log1p(np.maximum(dense, 0)).astype(np.float32)
    return (np.log(dense + 3) if how == "log3" else dense).astype(np.float32)


def parse(block: Block, file: ClickFile, layout: Layout) -> Rows:
    """Parse a block.

    Raises:
        InputError: the lines of the block are not rows at all; a column of Parquet is of a type that does not fit.
    """
    invalid_rows: dict[int, str] = {}
    if isinstance(block.content, bytes):
        table, lines = _parse_text(block, file, layout, invalid_rows)
    else:
        table, lines = _typed(block.file, block.content, layout), np.arange(block.lines)
    return _Checked(table, lines + block.first, layout, invalid_rows).rows()


def _types(file: ClickFile, layout: Layout) -> dict[str, pa.DataType]:
    """The columns that are read, with what they are read as."""
    types = dict.fromkeys([layout.label] * (layout.label in file.columns) + list(layout.dense), pa.float64())
    return types | dict.fromkeys(layout.table_sizes, pa.binary())


def _parse_text(
    block: Block, file: ClickFile, layout: Layout, invalid_rows: dict[int, str]
) -> tuple[pa.Table, NDArray[np.int64]]:
    """Read the lines that have the right number of columns and hold numbers where they must; note the others."""
    assert isinstance(block.content, bytes)
    types = _types(file, layout)
    content, lines = block.content, np.arange(block.lines)
    if content.count(b"\r") != content.count(b"\r\n"):  # Arrow would end a line there
        lines = _without_carriage_returns(block, invalid_rows)
        content = _chosen(block.content, lines)
    try:
        table, lines = _read(block, content, lines, file, types, invalid_rows)
    except pa.ArrowInvalid:  # something that is no number, or too many columns beside bytes that are not ASCII
        as_text = dict.fromkeys(types, pa.binary())
        _, lines = _read(block, content.translate(ASCII), lines, file, as_text, invalid_rows)
        table, lines = _read(block, _chosen(block.content, lines), lines, file, as_text, invalid_rows)
        lines = lines[~_note_no_numbers(block, table, lines, types, invalid_rows)]
        table, lines = _read(block, _chosen(block.content, lines), lines, file, types, invalid_rows)
    columns = [
        pc.split_pattern(table[name], layout.separator) if name in layout.multi_valued else table[name]
        for name in table.column_names
    ]
    return pa.table(columns, names=table.column_names), lines


def _chosen(content: bytes, lines: NDArray[np.int64]) -> bytes:
    """Some lines of a block."""
    every = content.split(b"\n")
    return b"".join(every[line] + b"\n" for line in lines)


def _without_carriage_returns(block: Block, invalid_rows: dict[int, str]) -> NDArray[np.int64]:
    """Note the lines that have a carriage return elsewhere than at their end, and give the others."""
    assert isinstance(block.content, bytes)
    invalid = [line for line, text in enumerate(block.content.split(b"\n")) if b"\r" in text[:-1]]
    invalid_rows.update({line + block.first: "a carriage return stands in the line" for line in invalid})
    return np.setdiff1d(np.arange(block.lines), invalid)


def _note_no_numbers(
    block: Block,
    table: pa.Table,
    lines: NDArray[np.int64],
    types: dict[str, pa.DataType],
    invalid_rows: dict[int, str],
) -> NDArray[np.bool_]:
    """Note the rows of a table of texts that lack a number where they must have one, and say which they are."""
    invalid = np.zeros(len(table), np.bool_)
    for name in (name for name, kind in types.items() if kind == pa.float64()):
        column = table[name].combine_chunks()
        wrong = ~pc.match_substring_regex(column, NUMBER).fill_null(True).to_numpy(zero_copy_only=False)
        for row in np.flatnonzero(wrong & ~invalid):
            invalid_rows[int(lines[row]) + block.first] = f"{name} is {_shown(column[row])}, not a number"
        invalid |= wrong
    return invalid


def _read(
    block: Block,
    content: bytes,
    lines: NDArray[np.int64],
    file: ClickFile,
    types: dict[str, pa.DataType],
    invalid_rows: dict[int, str],
) -> tuple[pa.Table, NDArray[np.int64]]:
    """Let Arrow read lines of a block, and give the places of its rows in the block."""
    wrong_columns: dict[int, int] = {}

    def note(row: csv.InvalidRow) -> str:
        wrong_columns[row.number - 1] = row.actual_columns
        return "skip"

    if not content:
        return pa.table({name: pa.array([], kind) for name, kind in types.items()}), lines
    # A row of missing values at the end, which a quote that is still open there would take in.
    ended = content + file.delimiter.encode() * (len(file.columns) - 1) + b"\n"
    table = csv.read_csv(
        pa.py_buffer(ended),
        csv.ReadOptions(use_threads=False, block_size=len(ended) + 1, column_names=file.columns),
        csv.ParseOptions(
            delimiter=file.delimiter,
            quote_char='"' if file.has_header else False,
            ignore_empty_lines=False,
            invalid_row_handler=note if content.isascii() else None,  # which is given the row as UTF-8
        ),
        csv.ConvertOptions(
            check_utf8=False,
            column_types=types,
            include_columns=list(types),
            null_values=[""],
            strings_can_be_null=True,
        ),
    )
    found = len(table) + len(wrong_columns) - 1
    if found != len(lines):
        last = block.first + block.lines - 1
        raise InputError(
            f"{block.file}:{block.first}: the {len(lines):,} lines up to {last} hold {found:,} rows. "
            "Each line must be a row: write no line ends into quoted values, and end lines by line feeds."
        )
    for row, columns in wrong_columns.items():
        invalid_rows[int(lines[row]) + block.first] = f"{columns} columns instead of {len(file.columns)}"
    return table.slice(0, len(table) - 1), np.delete(lines, list(wrong_columns))


def _typed(file: Path, batch: pa.RecordBatch, layout: Layout) -> pa.Table:
    """The columns of a block of Parquet: numbers as floats, ids as they are."""
    wanted = [layout.label] * (layout.label in batch.schema.names) + [*layout.dense, *layout.table_sizes]
    columns = []
    for name in wanted:
        column = batch.column(name)
        if name in layout.table_sizes:
            _check_type(file, name, column.type, layout)
            columns.append(column)
            continue
        try:
            columns.append(column.cast(pa.float64()))
        except pa.ArrowException as error:
            raise InputError(
                f"{file}: the column {name!r} holds {column.type}, not numbers ({error}). Convert it, or leave it out."
            ) from error
    return pa.table(columns, names=wanted)


def _check_type(file: Path, name: str, kind: pa.DataType, layout: Layout) -> None:
    """Require that a categorical column of Parquet is of a type that can be read."""
    several = name in layout.multi_valued
    lists = any(matches(kind) for matches in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list))
    values = kind.value_type if several and lists else kind
    hexadecimal = layout.hexadecimal and layout.mapping != "ids"
    if lists == several and (is_text(values) if hexadecimal else can_be_ids(values)):
        return
    wanted = "hexadecimal numbers as text" if hexadecimal else "text or whole numbers"
    raise InputError(
        f"{file}: the column {name!r} holds {kind}, not {'lists of ' * several}{wanted}. Convert it, or leave it out."
    )


class _Checked:
    """The values of a table, of which invalid rows are noted and then left out."""

    def __init__(self, table: pa.Table, lines: NDArray[np.int64], layout: Layout, invalid_rows: dict[int, str]) -> None:
        self.table = table.combine_chunks()
        self.lines = lines
        self.layout = layout
        self.invalid_rows = invalid_rows
        self.invalid = np.zeros(len(lines), np.bool_)

    def rows(self) -> Rows:
        """Check the values of all columns and give those of the valid rows."""
        self._note(self._empty(), lambda row: "the line is empty")
        labels = self._labels()
        dense = self._dense()
        keys = {name: self._keys(name) for name in self.layout.table_sizes}
        lengths = {name: self._lengths(name) for name in self.layout.table_sizes if name in self.layout.multi_valued}
        if self.invalid.any():
            valid = ~self.invalid
            labels = None if labels is None else labels[valid]
            dense = dense[valid]
            keys = {k: v[np.repeat(valid, lengths[k]) if k in lengths else valid] for k, v in keys.items()}
            lengths = {name: of_rows[valid] for name, of_rows in lengths.items()}
        return Rows(
            None if labels is None else labels.astype(np.uint8),
            transformed(dense, self.layout.dense_transform),
            keys,
            lengths,
            dict(sorted(self.invalid_rows.items())),
        )

    def _note(self, wrong: NDArray[np.bool_], why: Callable[[int], str]) -> None:
        for row in np.flatnonzero(wrong & ~self.invalid):
            self.invalid_rows[int(self.lines[row])] = why(int(row))
        self.invalid |= wrong

    def _column(self, name: str) -> pa.Array:
        column = self.table[name]
        return column.chunk(0) if column.num_chunks else pa.array([], column.type)

    def _empty(self) -> NDArray[np.bool_]:
        empty = np.ones(len(self.lines), np.bool_)
        for name in self.table.column_names:
            if not empty.any():
                break
            empty &= self._column(name).is_null().to_numpy(zero_copy_only=False)
        return empty

    def _labels(self) -> NDArray[np.float64] | None:
        name = self.layout.label
        if name not in self.table.column_names:
            return None
        labels = self._column(name).to_numpy(zero_copy_only=False)  # what is missing is NaN here
        self._note(
            (labels != 0) & (labels != 1),
            lambda row: f"the label ({name}) is {_shown(self._column(name)[row])}, not 0 or 1",
        )
        return labels

    def _dense(self) -> NDArray[np.float64]:
        dense = np.empty((len(self.lines), len(self.layout.dense)))
        for i, name in enumerate(self.layout.dense):
            column = self._column(name)
            dense[:, i] = column.fill_null(0).to_numpy(zero_copy_only=False)
            self._note_numbers(name, dense[:, i])
        return dense

    def _note_numbers(self, name: str, numbers: NDArray[np.float64]) -> None:
        self._note(~np.isfinite(numbers), lambda row: f"{name} is {numbers[row]}, not a finite number")
        if self.layout.dense_transform == "log3":
            self._note(numbers <= -3, lambda row: f"{name} is {numbers[row]:g}, which has no log(x + 3)")

    def _lengths(self, name: str) -> NDArray[np.int64]:
        return pc.list_value_length(self._column(name)).fill_null(0).to_numpy().astype(np.int64)

    def _keys(self, name: str) -> Keys:
        column = self._column(name)
        values = column.flatten() if name in self.layout.multi_valued else column
        if self.layout.hexadecimal and self.layout.mapping != "ids":
            keys, wrong = hex_keys(plain_values(values).cast(pa.binary()))
            self._note_values(name, values, wrong, f"not a hexadecimal number of up to {HEX_DIGITS} digits")
            return keys
        texts, inexact = id_texts(values)
        self._note_values(name, values, inexact, INEXACT)
        if self.layout.mapping != "ids":
            return hash_keys(texts)
        keys, wrong = integer_keys(texts)
        self._note_values(name, values, wrong, "not a whole number of 0 or more")
        rows = self.layout.table_sizes[name]
        self._note_values(name, values, keys > rows, f"beyond its table of {rows:,} rows")
        return keys

    def _note_values(self, name: str, given: pa.Array, wrong: NDArray[np.bool_], why: str) -> None:
        """Note rows with a wrong value."""
        values = np.flatnonzero(wrong)
        if not values.size:
            return
        rows = np.repeat(np.arange(len(self.lines)), self._lengths(name)) if name in self.layout.multi_valued else None
        value_of = dict(zip((values if rows is None else rows[values])[::-1], values[::-1], strict=True))
        invalid = np.zeros(len(self.lines), np.bool_)
        invalid[list(value_of)] = True
        self._note(invalid, lambda row: f"{name} is {_shown(given[int(value_of[row])])}, {why}")


def _shown(value: pa.Scalar) -> str:
    """A value as a message shows it."""
    plain = value.as_py()
    if plain is None:
        return "missing"
    if isinstance(plain, float):
        return repr(plain).removesuffix(".0")
    if not isinstance(plain, bytes | str):
        return str(plain)
    text = plain.decode("utf-8", "backslashreplace") if isinstance(plain, bytes) else plain
    return repr(text if len(text) <= 40 else text[:40] + "...")
