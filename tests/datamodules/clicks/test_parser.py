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
from datamodules.clicks.ids import INEXACT
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
        ("1, ,1,a,b,c", "age is ' ', not a number"),
        ("1,1,1,a,caf\xe9", "5 columns instead of 6"),
        ("1,1,caf\xe9,a,b,c", "price is 'caf\xe9', not a number"),
        ("1,1,1,a\rb,b,c", "a carriage return stands in the line"),
        ("1,1,1,a,1.5e+18,c", f"word is '1.5e+18', {INEXACT}"),
        ("1,1,1,a,b,7|9007199254740992.0", f"tags is '9007199254740992.0', {INEXACT}"),
    ],
)
def test_what_is_wrong_with_a_line_is_said(line: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("\n".join([",".join(COLUMNS), "1,1,1,a,b,c", line, "0,1,1,a,b,c", ""]), newline="\n")
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


def test_quote_that_is_open_at_the_end_is_an_input_error(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text('click,site\n1,a\n0,"b\n')
    with pytest.raises(InputError, match=re.escape(f"{file}:2: the 2 lines up to 3 hold 1 rows")):
        read(file, Layout("click", (), {"site": 10}))


def test_row_of_the_wrong_number_of_columns_need_not_be_utf8(tmp_path: Path) -> None:
    file = tmp_path / "rows"
    file.write_bytes(b"\0\x8a\n1\t\tff\n0\t\tf\xe9\n")
    (part,) = read(file, Layout("label", ("I1",), {"C1": 10}), ["label", "I1", "C1"])
    assert part.invalid_rows == {1: "1 columns instead of 3"}
    assert part.keys["C1"].tolist() == [keys_of("ff"), int(hash_keys(pa.array([b"f\xe9"], pa.binary()))[0])]


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


NUMBERS_OF_USERS = [7, 123456789012, None, 0, -5]


@pytest.mark.parametrize(
    "users",
    [
        pa.array(NUMBERS_OF_USERS, pa.int64()),
        pa.array(NUMBERS_OF_USERS, pa.float64()),
        pa.array(NUMBERS_OF_USERS, pa.float64()).dictionary_encode(),
        pa.array(NUMBERS_OF_USERS, pa.int64()).cast(pa.decimal128(30, 2)),
        pa.array([None if user is None else str(user) for user in NUMBERS_OF_USERS]).dictionary_encode(),
        pa.array([None if user is None else f"{user}.0" for user in NUMBERS_OF_USERS]),
    ],
    ids=lambda users: str(users.type),
)
@pytest.mark.parametrize("several", [False, True])
def test_same_user_has_the_same_key_in_every_type_and_file(users: pa.Array, several: bool, tmp_path: Path) -> None:
    layout = Layout("click", (), {"user": 10}, frozenset({"user"} if several else ()))
    count = len(users)
    # With several users each row has two: the one of its place, and the last one.
    column = pa.ListArray.from_arrays(range(0, 2 * count + 1, 2), users.take([i for n in range(count) for i in (n, 4)]))
    pq.write_table(pa.table({"click": [1] * count, "user": column if several else users}), tmp_path / "rows.parquet")
    (found,) = read(tmp_path / "rows.parquet", layout)
    expected = [0 if user is None else keys_of(str(user)) for user in NUMBERS_OF_USERS]
    assert found.keys["user"].tolist() == ([k for key in expected for k in (key, expected[4])] if several else expected)
    texts = ["" if user is None else f"{user}.0" for user in NUMBERS_OF_USERS]
    lines = [f"1,{text}{'|-5' if several else ''}\n" for text in texts]
    (tmp_path / "rows.csv").write_text("".join(["click,user\n", *lines]))
    (as_csv,) = read(tmp_path / "rows.csv", layout)
    assert as_csv.keys["user"].tolist() == found.keys["user"].tolist()


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.large_list(pa.float64()), pa.list_(pa.float64(), 2)])
def test_lists_of_every_kind_give_what_csv_gives(kind: pa.DataType, tmp_path: Path) -> None:
    layout = Layout("click", (), {"tags": 10}, frozenset({"tags"}))
    tags = pa.array([[7, 8], None, [9, None], [float("nan"), 7.5]], kind)
    pq.write_table(pa.table({"click": [1, 0, 1, 1], "tags": tags}), tmp_path / "rows.parquet")
    (tmp_path / "rows.csv").write_text("click,tags\n1,7|8.0\n0,\n1,9|\n1,|7.5\n")
    (found,), (expected,) = read(tmp_path / "rows.parquet", layout), read(tmp_path / "rows.csv", layout)
    assert found.lengths["tags"].tolist() == expected.lengths["tags"].tolist() == [2, 0, 2, 2]
    assert found.keys["tags"].tolist() == expected.keys["tags"].tolist()


def test_floats_that_may_have_lost_digits_are_named_with_their_rows(tmp_path: Path) -> None:
    users = pa.array([7, 2.0**53, None, -(2.0**60), 2.0**53 - 1])
    pq.write_table(pa.table({"click": [1] * 5, "user": users}), tmp_path / "rows.parquet")
    for mapping, rows in (("hash", 10), ("ids", 2**31 - 1)):
        (part,) = read(tmp_path / "rows.parquet", Layout("click", (), {"user": rows}, mapping=mapping))  # type: ignore[arg-type]
        assert part.invalid_rows[2] == f"user is 9007199254740992, {INEXACT}"
        assert part.invalid_rows[4] == f"user is -1.152921504606847e+18, {INEXACT}"


def test_hexadecimal_numbers_of_parquet_are_text(tmp_path: Path) -> None:
    layout = Layout("label", (), {"C1": 10}, hexadecimal=True)
    for file, codes in (("a", ["ff", None, "12345678"]), ("b", [255, None, 12345678])):
        pq.write_table(pa.table({"label": [1, 0, 1], "C1": codes}), tmp_path / f"{file}.parquet")
    (part,) = read(tmp_path / "a.parquet", layout)
    assert part.keys["C1"].tolist() == [256, 0, 0x12345678 + 1]
    with pytest.raises(InputError, match=r"b.parquet: the column 'C1' holds int64, not hexadecimal numbers as text"):
        read(tmp_path / "b.parquet", layout)


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
    pq.write_table(pa.table({"click": [0, 1], "site": [True, False]}), tmp_path / "rows.parquet")
    with pytest.raises(InputError, match=r"the column 'site' holds bool, not text or whole numbers"):
        read(tmp_path / "rows.parquet", Layout("click", (), {"site": 10}))
    with pytest.raises(InputError, match=r"the column 'site' holds bool, not lists of text or whole numbers"):
        read(tmp_path / "rows.parquet", Layout("click", (), {"site": 10}, frozenset({"site"})))
