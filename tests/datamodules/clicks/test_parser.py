"""Blocks of text become the rows that Python reads line by line, and invalid lines are named by their numbers."""

import gzip
import math
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.clicks import reader as click_blocks
from datamodules.clicks.keys import hash_keys
from datamodules.clicks.parser import Layout, Rows, parse, transformed
from datamodules.clicks.reader import open_click_file
from sextant.errors import InputError

LAYOUT = Layout("click", ("age", "price"), {"site": 10, "word": 20, "tags": 30}, frozenset({"tags"}))
COLUMNS = ["click", "age", "price", "site", "word", "tags"]
NUMBERS = st.integers(-5, 1000).map(str) | st.sampled_from(["", "0.5", "1e3", "-2.25", ".5", "7.", " 3"])
VALID = st.tuples(st.sampled_from(["0", "1", "0.0", "1.0"]), NUMBERS, NUMBERS, *[st.text("ab|c", max_size=10)] * 3)
INVALID = st.sampled_from(
    [
        "2,1,1,a,b,c",
        ",1,1,a,b,c",
        "nan,1,1,a,b,c",
        "x,1,1,a,b,c",
        "1,one,1,a,b,c",
        "1,1,nan,a,b,c",
        "1,-inf,1,a,b,c",
        "1,1,1,a,b",
        "1,1,1,a,b,c,d",
        "",
        "1",
    ]
)


def read(file: Path, layout: Layout = LAYOUT, columns: list[str] | None = None) -> list[Rows]:
    opened = open_click_file(file, columns)
    return [parse(block, opened, layout) for block in opened.blocks()]


def keys_of(text: str) -> int:
    return int(hash_keys(pa.array([text.encode()], pa.binary()))[0])


def joined(parts: list[Rows]) -> dict[str, list]:
    """All rows of a file, as lists."""
    found: dict[str, list] = {"label": [], "dense": [], "invalid_rows": []}
    for part in parts:
        assert part.labels is not None
        found["label"] += part.labels.tolist()
        found["dense"] += part.dense.tolist()
        found["invalid_rows"] += list(part.invalid_rows)
        for name, keys in part.keys.items():
            counts = part.lengths.get(name, np.ones(len(part.dense), np.int64))
            found.setdefault(name, []).extend(rows.tolist() for rows in np.split(keys, counts.cumsum())[:-1])
    return found


def expected(lines: list[str | tuple[str, ...]]) -> dict[str, list]:
    """What :func:`joined` shall give, computed line by line; tuples are valid rows."""
    found: dict[str, list] = {name: [] for name in ("label", "dense", "invalid_rows", "site", "word", "tags")}
    for number, line in enumerate(lines, 2):
        if isinstance(line, str):
            found["invalid_rows"].append(number)
            continue
        label, age, price, site, word, tags = line
        found["label"].append(int(float(label)))
        found["dense"].append([float(np.float32(float(number or 0))) for number in (age, price)])
        found["site"].append([keys_of(site)])
        found["word"].append([keys_of(word)])
        found["tags"].append([keys_of(tag) for tag in tags.split("|")] if tags else [])
    return found


@settings(max_examples=150, deadline=None)
@given(
    lines=st.lists(VALID | INVALID, min_size=1, max_size=25),
    block=st.integers(1, 200),
    end=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
    packed=st.booleans(),
)
def test_rows_and_numbers_of_invalid_lines_are_those_of_reading_line_by_line(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[str | tuple[str, ...]],
    block: int,
    end: str,
    last: bool,
    packed: bool,
) -> None:
    texts = [",".join(COLUMNS), *(line if isinstance(line, str) else ",".join(line) for line in lines)]
    text = end.join(texts) + (end if last or not texts[-1] else "")
    file = tmp_path_factory.getbasetemp() / "rows.csv"
    file.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(click_blocks, "BLOCK", block)
        parts = read(file)
    found = joined(parts)
    for name, values in expected(lines).items():
        assert found.get(name, []) == values, name


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("2,1,1,a,b,c", "the label (click) is 2, not 0 or 1"),
        (",1,1,a,b,c", "the label (click) is missing, not 0 or 1"),
        ("yes,1,1,a,b,c", "click is 'yes', not a number"),
        ("1,one,1,a,b,c", "age is 'one', not a number"),
        ("1,1,NaN,a,b,c", "price is nan, not a finite number"),
        ("1,1,-inf,a,b,c", "price is -inf, not a finite number"),
        ("1,1,1,a,b", "5 columns instead of 6"),
        ("1,1,1,a,b,c,d", "7 columns instead of 6"),
        ("", "the line is empty"),
    ],
)
def test_what_is_wrong_with_a_line_is_said(line: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("\n".join([",".join(COLUMNS), "1,1,1,a,b,c", line, "0,1,1,a,b,c", ""]))
    (part,) = read(file)
    assert part.invalid_rows == {3: why}
    assert part.labels is not None
    assert part.labels.tolist() == [1, 0]


def test_values_that_are_no_hexadecimal_numbers_are_said(tmp_path: Path) -> None:
    file = tmp_path / "rows"
    file.write_text("1\t2\tff\n0\t3\txyz\n1\t\t\n0\t1\t123456789\n")
    layout = Layout("label", ("I1",), {"C1": 10}, hexadecimal=True, dense_transform="log1p")
    (part,) = read(file, layout, ["label", "I1", "C1"])
    assert part.invalid_rows == {
        2: "C1 is 'xyz', not a hexadecimal number of up to 8 digits",
        4: "C1 is '123456789', not a hexadecimal number of up to 8 digits",
    }
    assert part.keys["C1"].tolist() == [256, 0]
    assert part.dense[:, 0].tolist() == pytest.approx([math.log(3), 0])


def test_row_numbers_beyond_their_table_are_said(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("click,site,tags\n1,9,1|2\n1,10,1\n0,-1,1\n1,,\n0,3,0|30\n0,3,29|x\n")
    layout = Layout("click", (), {"site": 10, "tags": 30}, frozenset({"tags"}), mapping="ids")
    (part,) = read(file, layout)
    assert part.invalid_rows == {
        3: "site is '10', beyond its table of 10 rows",
        4: "site is '-1', not a whole number of 0 or more",
        6: "tags is '30', beyond its table of 30 rows",
        7: "tags is 'x', not a whole number of 0 or more",
    }
    assert part.keys["site"].tolist() == [10, 0]
    assert part.keys["tags"].tolist() == [2, 3]
    assert part.lengths["tags"].tolist() == [2, 0]


def test_numbers_without_a_logarithm_are_said(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("click,age,site\n1,-2,a\n1,-3,a\n0,,a\n")
    (part,) = read(file, Layout("click", ("age",), {"site": 10}, dense_transform="log3"))
    assert part.invalid_rows == {3: "age is -3, which has no log(x + 3)"}
    assert part.dense[:, 0].tolist() == pytest.approx([0, math.log(3)])


def test_counts_are_compressed_as_in_the_published_programs() -> None:
    counts = np.array([-2.0, 0, 1, 100])
    assert transformed(counts, "log1p").tolist() == pytest.approx([0, 0, math.log(2), math.log(101)])
    assert transformed(counts, "log3").tolist() == pytest.approx([0, math.log(3), math.log(4), math.log(103)])
    assert transformed(counts, "none").tolist() == counts.tolist()
    assert transformed(counts, "log1p").dtype == np.float32


def test_quoted_values_may_hold_the_delimiter_but_no_line_end(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text('click,site\n1,"a,b"\n0,a\n')
    layout = Layout("click", (), {"site": 10})
    (part,) = read(file, layout)
    assert part.keys["site"].tolist() == [keys_of("a,b"), keys_of("a")]
    file.write_text('click,site\n1,"a\nb"\n0,a\n')
    with pytest.raises(InputError, match=re.escape(f"{file}:2: the 3 lines up to 4 hold 2 rows")):
        read(file, layout)


def test_values_need_not_be_utf8(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(b"click,site\n1,caf\xe9\n0,a\n")
    (part,) = read(file, Layout("click", (), {"site": 10}))
    assert len(set(part.keys["site"].tolist())) == 2


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_parquet_gives_what_csv_gives(kind: pa.DataType, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("click,age,price,site,word,tags\n1,2,0.5,a,7,x|y\n0,,1,,8,\n1,3,2,b,,z\n")
    table = pa.table(
        {
            "word": pa.array([7, 8, None], pa.int16()),
            "tags": pa.array([["x", "y"], None, ["z"]], pa.list_(pa.string())),
            "other": pa.array([1, 2, 3]),
            "site": pa.array(["a", None, "b"]).cast(kind),
            "price": pa.array([0.5, 1, 2]),
            "age": pa.array([2, None, 3], pa.int64()),
            "click": pa.array([True, False, True]),
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=2)
    assert joined(read(tmp_path / "rows.parquet")) == joined(read(tmp_path / "rows.csv"))


def test_invalid_rows_of_parquet_are_named_by_their_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click_blocks, "PARQUET_ROWS", 2)
    pq.write_table(pa.table({"click": [0.0, 1, 2, 1, None], "site": ["a"] * 5}), tmp_path / "rows.parquet")
    parts = read(tmp_path / "rows.parquet", Layout("click", (), {"site": 10}))
    assert [part.invalid_rows for part in parts] == [
        {},
        {3: "the label (click) is 2, not 0 or 1"},
        {5: "the label (click) is missing, not 0 or 1"},
    ]


def test_column_of_parquet_of_another_type_is_an_input_error(tmp_path: Path) -> None:
    pq.write_table(pa.table({"click": ["a", "b"], "site": ["a", "b"]}), tmp_path / "rows.parquet")
    with pytest.raises(InputError, match="the column 'click' holds string, not numbers"):
        read(tmp_path / "rows.parquet", Layout("click", (), {"site": 10}))
    pq.write_table(pa.table({"click": [0, 1], "site": [["a"], ["b"]]}), tmp_path / "rows.parquet")
    with pytest.raises(InputError, match=r"the column 'site' holds list<.*>, not text or whole numbers"):
        read(tmp_path / "rows.parquet", Layout("click", (), {"site": 10}))
