"""Whatever has become of the bytes of a click log, it is read as Python reads it line by line, or an input error."""

import csv
import io
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from datamodules.clicks import reader as click_blocks
from datamodules.clicks.ids import id_texts
from datamodules.clicks.keys import hash_keys
from datamodules.clicks.parser import Layout, parse
from datamodules.clicks.reader import open_click_file
from sextant.errors import InputError
from tests.mutations import fuzz

LAYOUT = Layout("click", ("age", "price"), {"site": 10, "word": 20, "tags": 30}, frozenset({"tags"}))
CSV = (
    b'click,age,price,site,word,tags\n1,2,0.5,a,7,x|y\n0,,1,,8.0,\r\n1, 3,2,"b,c",,z\n0,1e3,-.5,68fd1e64,1e345678,q|r\n'
)
CRITEO_LAYOUT = Layout("label", ("I1", "I2"), {"C1": 10, "C2": 10}, hexadecimal=True)
CRITEO = b"1\t2\t3\t68fd1e64\tff\n0\t\t-1\t\t1e345678\r\n1\t7\t\t12345678\t\n"
CRITEO_COLUMNS = ["label", "I1", "I2", "C1", "C2"]
NUMBER = re.compile(rb"[ \t]*[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|(?i:nan|inf|infinity))[ \t]*")
Row = tuple[int, list[float], list[list[int]]]  # label, numbers, keys of each categorical column

BYTES = st.sampled_from([bytes([byte]) for byte in b"\n\r\"',|\t.0+-eE\0 7\x80\x8a\xbb\xbf\xc3\xff"]) | st.binary(
    max_size=3
)
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 6), BYTES), min_size=1, max_size=4)


def edited(content: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    """Some bytes put in the place of others: where, as a fraction of the content, of how many, and which."""
    for place, count, new in edits:
        start = round(place * len(content))
        content = content[:start] + new + content[start + count :]
    return content


def number(text: bytes) -> float:
    """A finite number; 0 for an empty text."""
    if text and not NUMBER.fullmatch(text):
        raise ValueError(text)
    value = float(text or b"0")
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def hashed(text: bytes) -> int:
    texts, wrong = id_texts(pa.array([text], pa.binary()))
    if wrong.any():
        raise ValueError(text)
    return int(hash_keys(texts)[0])


def hexadecimal(text: bytes) -> int:
    if text and not re.fullmatch(rb"[0-9a-fA-F]{1,8}", text):
        raise ValueError(text)
    return int(text, 16) + 1 if text else 0


def split_csv(line: bytes) -> list[bytes]:
    fields = next(csv.reader([line.decode("latin-1")]), [""])
    return [field.encode("latin-1") for field in fields]


def by_line(
    lines: list[bytes],
    first: int,
    columns: list[str],
    layout: Layout,
    split: Callable[[bytes], list[bytes]],
    key: Callable[[bytes], int],
) -> tuple[list[Row], list[int]]:
    """The rows of lines of text, and the numbers of those that are invalid."""
    rows: list[Row] = []
    invalid = []
    for place, line in enumerate(lines, first):
        try:
            text = line.removesuffix(b"\r")
            if b"\r" in text:
                raise ValueError(text)
            fields = dict(zip(columns, split(text), strict=True))
            if not any(fields[name] for name in [layout.label, *layout.dense, *layout.table_sizes]):
                raise ValueError(text)
            label = (0, 1).index(number(fields[layout.label] or b"x"))
            dense = [float(np.float32(number(fields[name]))) for name in layout.dense]
            several = {name: fields[name].split(b"|") if fields[name] else [] for name in layout.multi_valued}
            keys = [[key(text) for text in several.get(name, [fields[name]])] for name in layout.table_sizes]
        except ValueError:
            invalid.append(place)
        else:
            rows.append((label, dense, keys))
    return rows, invalid


def read(
    file: Path, layout: Layout, columns: list[str] | None, block: int
) -> tuple[list[str], list[Row], list[int]] | None:
    """The names of the columns of a file, its rows, and the numbers of invalid lines; None for an input error."""
    try:
        opened = open_click_file(file, columns)
        if not {layout.label, *layout.dense, *layout.table_sizes} <= set(opened.columns):
            return None  # which ClickColumns refuses
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(click_blocks, "BLOCK", block)
            parts = [parse(part, opened, layout) for part in opened.blocks()]
    except InputError as error:
        if str(file) not in str(error):
            raise
        return None
    rows: list[Row] = []
    for part in parts:
        assert part.labels is not None
        by_column = []
        for name, keys in part.keys.items():
            counts = part.lengths.get(name, np.ones(len(part.dense), np.int64))
            assert counts.sum() == len(keys)
            by_column.append([values.tolist() for values in np.split(keys, counts.cumsum())[:-1]])
        keys_by_row = map(list, zip(*by_column, strict=True))
        rows += zip(part.labels.tolist(), part.dense.tolist(), keys_by_row, strict=True)
    return opened.columns, rows, [line for part in parts for line in part.invalid_rows]


@fuzz(400)
@given(edits=EDITS, block=st.sampled_from([20, 60, 2**22]))
@example(edits=[(1, 0, b"\0\x8a")], block=2**22)  # a wrong number of columns, and no UTF-8
@example(edits=[(0.04, 1, b"\r")], block=2**22)
@example(edits=[(0.3, 0, b" ,")], block=2**22)
@example(edits=[(1, 0, b'0,1,1,a,b,"c')], block=2**22)
@example(edits=[(0.5, 0, b"\r"), (1, 0, b'0,1,1,a,b,"c')], block=2**22)
def test_csv_is_read_as_line_by_line_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[float, int, bytes]], block: int
) -> None:
    content = edited(CSV, edits)
    file = tmp_path_factory.getbasetemp() / "damaged.csv"
    file.write_bytes(content)
    found = read(file, LAYOUT, None, block)
    if found is not None:
        columns, *rest = found
        lines = content.removesuffix(b"\n").split(b"\n")[1:]
        assert tuple(rest) == by_line(lines, 2, columns, LAYOUT, split_csv, hashed)


@fuzz(400)
@given(edits=EDITS, block=st.sampled_from([20, 60, 2**22]))
@example(edits=[(0, 999, b"\0\x8a")], block=2**22)
@example(edits=[(0.5, 0, b"\r")], block=2**22)
@example(edits=[(0.02, 1, b"\t \t")], block=2**22)
def test_lines_of_criteo_are_read_as_line_by_line_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[float, int, bytes]], block: int
) -> None:
    content = edited(CRITEO, edits)
    file = tmp_path_factory.getbasetemp() / "damaged.txt"
    file.write_bytes(content)
    found = read(file, CRITEO_LAYOUT, CRITEO_COLUMNS, block)
    if found is not None:
        columns, *rest = found
        lines = content.removesuffix(b"\n").split(b"\n")
        expected = by_line(lines, 1, columns, CRITEO_LAYOUT, lambda line: line.split(b"\t"), hexadecimal)
        assert tuple(rest) == expected


@fuzz(300)
@given(edits=EDITS, compression=st.sampled_from(["none", "snappy", "gzip", "zstd"]))
@example(edits=[(0.02, 1, b"\n")], compression="gzip")  # which Arrow reads as no rows, without an error
def test_parquet_that_is_damaged_is_read_to_whole_rows_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[float, int, bytes]], compression: str
) -> None:
    table = pa.table(
        {
            "click": [1, 0, 1],
            "age": [2, None, 3],
            "price": [0.5, 1, 2],
            "site": ["a", None, "b"],
            "word": [7.0, 8, None],
            "tags": [["x", "y"], None, ["z"]],
        }
    )
    out = io.BytesIO()
    pq.write_table(table, out, compression=compression)
    file = tmp_path_factory.getbasetemp() / "damaged.parquet"
    file.write_bytes(edited(out.getvalue(), edits))
    found = read(file, LAYOUT, None, 2**22)
    if found is not None:
        _, rows, invalid = found
        assert len(rows) + len(invalid) == pq.read_metadata(file).num_rows
