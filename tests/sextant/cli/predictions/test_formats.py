"""The formats of files of predictions."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from sextant.cli.predictions import formats
from sextant.cli.predictions.formats import FORMATS, check_format
from sextant.errors import InputError


def write(suffix: str, rows: list[dict[str, Any]]) -> io.BytesIO:
    """A file of the format, to be read."""
    file = io.BytesIO()
    assert FORMATS[suffix]([json.dumps(row, ensure_ascii=False).encode() for row in rows], file) == len(rows)
    return io.BytesIO(file.getvalue())


def read_parquet(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = parquet.read_table(write(".parquet", rows)).to_pylist()
    return found


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row group of Parquet for each row or two."""
    monkeypatch.setattr(formats, "GROUP", 40)


ROWS = [
    {
        "file": f"{i}.jpg",
        "none yet": None if i < 3 else "é",
        "number": 1 if i < 2 else i / 2,
        "id": 2**60 + i,
        "whether": i > 1,
        "list": list(range(i)),
        "words": [{"word": str(j), "at": j if i < 4 else 0.5} for j in range(i)],
    }
    for i in range(6)
]


def test_parquet_has_the_values_of_all_rows_with_types_that_fit_all_row_groups() -> None:
    """Nulls that come first, integers before floats, empty lists, dictionaries, and integers that no float can hold."""
    assert read_parquet(ROWS) == ROWS
    file = parquet.ParquetFile(write(".parquet", ROWS))
    assert file.num_row_groups > 2
    types = {field.name: str(field.type) for field in file.schema_arrow}
    assert types["none yet"] == "string"
    assert types["number"] == "double"
    assert types["id"] == "int64"
    assert types["whether"] == "bool"
    assert types["list"].startswith("list<")


NOT_FINITE = {
    "file": "NaN.jpg",
    "a": float("nan"),
    "b": [1.5, float("inf")],
    "c": {"d": -float("inf")},
    "e": "Infinity",
}


def read_strictly(text: str) -> Any:
    """Read JSON as other languages do, which know neither NaN nor Infinity."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_json_lines_have_null_for_numbers_that_json_does_not_have() -> None:
    lines = write(".jsonl", [NOT_FINITE, {"file": "2.jpg", "a": 1.0}]).read().decode().splitlines()
    found = [read_strictly(line) for line in lines]
    known = {"file": "NaN.jpg", "a": None, "b": [1.5, None], "c": {"d": None}, "e": "Infinity"}
    assert found == [known, {"file": "2.jpg", "a": 1.0}]


def test_csv_has_the_number_and_null_within_the_json_of_a_list() -> None:
    (row,) = csv.DictReader(io.StringIO(write(".csv", [NOT_FINITE]).read().decode()))
    assert (row["a"], row["e"]) == ("nan", "Infinity")
    assert [read_strictly(row[key]) for key in "bc"] == [[1.5, None], {"d": None}]


def test_parquet_column_without_a_value_is_null() -> None:
    assert read_parquet([{"a": None}, {"a": None}]) == [{"a": None}, {"a": None}]


@pytest.mark.parametrize(
    ("first", "second"), [(1, "one"), (True, 1), ([1], "one"), (2**53 + 1, 0.5), (1, 2**70), ({}, {})]
)
@pytest.mark.parametrize("rows_before", [0, 3])
def test_parquet_names_a_column_that_no_type_fits(first: object, second: object, rows_before: int) -> None:
    """Within a row group and across them."""
    rows = [{"file": "long enough to be a row group alone, or nearly", "odd": first}] * rows_before
    with pytest.raises(InputError, match=r"Column 'odd' .* end --predictions\.output in \.csv or \.jsonl"):
        write(".parquet", [*rows, {"file": "a", "odd": first}, {"file": "b", "odd": second}])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("other", [{"b": 1}, {"a": 1}, {"a": 1, "b": 2, "c": 3}])
def test_row_of_a_table_with_other_columns_is_named(suffix: str, other: dict[str, int]) -> None:
    second: dict[str, Any] = {"file": "2.jpg", **other}
    rows = [{"file": "1.jpg", "a": 1, "b": 2}, second]
    with pytest.raises(InputError, match=r"2\.jpg has other columns than the first one: [abc]\..*\.jsonl"):
        write(suffix, rows)
    assert [json.loads(line) for line in write(".jsonl", rows)] == rows


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_columns_in_another_order_are_not_shifted(suffix: str) -> None:
    file = write(suffix, [{"a": "1", "b": "2"}, {"b": "4", "a": "3"}])
    if suffix == ".csv":
        rows: list[dict[str, Any]] = list(csv.DictReader(io.TextIOWrapper(file, newline="")))
    else:
        rows = parquet.read_table(file).to_pylist()
    assert rows == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


@pytest.mark.parametrize("suffix", FORMATS)
def test_no_rows_are_an_empty_file_of_the_format(suffix: str) -> None:
    file = write(suffix, [])
    assert parquet.read_table(file).num_rows == 0 if suffix == ".parquet" else not file.getvalue()


@pytest.mark.parametrize("name", ["out", "out.json", "out.CSV", "out.csv.gz", ".csv"])
def test_other_endings_are_refused_with_those_that_there_are(name: str) -> None:
    with pytest.raises(InputError, match=rf"output={name}: its ending must be one of \.csv, \.jsonl, \.parquet"):
        check_format(Path(name))


def test_parquet_without_pyarrow_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install pyarrow.*\.csv or \.jsonl"):
        check_format(Path("out.parquet"))
    check_format(Path("out.csv"))
