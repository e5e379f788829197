"""Files are read to their ends in pieces of whole lines, or it is said why they cannot."""

import gzip
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.clicks import reader as click_blocks
from datamodules.clicks.reader import open_click_file
from sextant.errors import InputError
from tests.filesystem import cut_in_half

COLUMNS = ["label", "I1", "C1"]


@settings(max_examples=100, deadline=None)
@given(
    lines=st.lists(st.text("ab\t", max_size=12).map(str.encode), min_size=1, max_size=30),
    block=st.integers(1, 60),
    packed=st.booleans(),
)
def test_blocks_are_the_whole_file_in_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], block: int, packed: bool
) -> None:
    content = b"1\t2\tff\n" + b"\n".join(lines)
    file = tmp_path_factory.getbasetemp() / "lines"
    file.write_bytes(gzip.compress(content) if packed else content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(click_blocks, "BLOCK", block)
        blocks = list(open_click_file(file, COLUMNS).blocks())
    contents = [part.content for part in blocks]
    assert all(isinstance(part, bytes) and part.endswith(b"\n") for part in contents)
    ended = content if content.endswith(b"\n") else content + b"\n"
    assert b"".join(part for part in contents if isinstance(part, bytes)) == ended
    number = 1
    for part in blocks:
        assert isinstance(part.content, bytes)
        assert (part.first, part.lines) == (number, part.content.count(b"\n"))
        number += part.lines
    assert sum(part.size for part in blocks) == file.stat().st_size


def test_names_come_from_the_header_or_are_given(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text('click,"a,b",c\n1,2,3\n')
    (tmp_path / "rows.tsv").write_text("\ufeffclick\ta,b\n1\t2\n", encoding="utf-8")
    (tmp_path / "train.txt").write_text("1\t2\tff\n")
    (tmp_path / "test.txt").write_text("2\tff\n")
    assert open_click_file(tmp_path / "rows.csv").columns == ["click", "a,b", "c"]
    assert open_click_file(tmp_path / "rows.tsv").columns == ["click", "a,b"]
    assert open_click_file(tmp_path / "train.txt", COLUMNS).columns == COLUMNS
    assert open_click_file(tmp_path / "test.txt", COLUMNS).columns == ["I1", "C1"]


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("name", "delimiter", "names"),
    [
        ("rows.tsv", "\t", ["click", "a,b"]),
        ("rows.tsv.gz", "\t", ["click", "a,b"]),
        ("day.1.tsv.gz", "\t", ["click", "a,b"]),
        ("rows.csv", ",", ["click\ta", "b"]),
        ("rows.csv.gz", ",", ["click\ta", "b"]),
        ("tsv.gz", ",", ["click\ta", "b"]),
        ("rows", ",", ["click\ta", "b"]),
    ],
)
def test_columns_are_separated_as_the_name_of_the_file_says_packed_or_not(
    tmp_path: Path, name: str, delimiter: str, names: list[str], packed: bool
) -> None:
    content = b"click\ta,b\n1\t2,3\n"
    (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
    file = open_click_file(tmp_path / name)
    assert (file.columns, file.delimiter, file.has_header) == (names, delimiter, True)
    assert [block.content for block in file.blocks()] == [b"1\t2,3\n"]


def test_columns_of_the_same_name_are_an_input_error(tmp_path: Path) -> None:
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), tmp_path / "rows.parquet")
    with pytest.raises(InputError, match=re.escape(f"{tmp_path / 'rows.parquet'}: several columns are named 'a'")):
        open_click_file(tmp_path / "rows.parquet")
    (tmp_path / "rows.csv").write_text("a,b,a\n1,2,3\n")
    with pytest.raises(InputError, match=re.escape(f"{tmp_path / 'rows.csv'}:1: several columns are named 'a'")):
        open_click_file(tmp_path / "rows.csv")


@pytest.mark.parametrize("head", [b"click\rsite\n", b"click,si\rte\n", b'click,"site\n', b"click\r1\r0\r", b'"a"b,c\n'])
def test_names_of_columns_that_cannot_be_read_are_an_input_error(head: bytes, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(head)
    with pytest.raises(InputError, match=re.escape(f"{tmp_path / 'rows.csv'}:1: the names of the columns cannot be")):
        open_click_file(tmp_path / "rows.csv")


@pytest.mark.parametrize("content", [b"", b"\n1\t2\tff\n", gzip.compress(b"", mtime=0)], ids=["none", "empty", "gzip"])
def test_empty_first_line_is_an_input_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_bytes(content)
    with pytest.raises(InputError, match=r"train.txt:1: the first line is empty"):
        open_click_file(tmp_path / "train.txt", COLUMNS)


def test_damaged_files_are_input_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = tmp_path / "day_0.gz"
    packed.write_bytes(gzip.compress(b"".join(b"1\t%d\tff\n" % i for i in range(20_000))))
    cut_in_half(packed)
    opened = open_click_file(packed, COLUMNS)
    with pytest.raises(InputError, match=r"day_0.gz: cannot be read to its end"):
        list(opened.blocks())
    broken = tmp_path / "rows.parquet"
    broken.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(InputError, match=r"rows.parquet: cannot be read"):
        open_click_file(broken)
    with pytest.raises(InputError, match=r"nowhere: cannot be read \(No such file"):
        open_click_file(tmp_path / "nowhere", COLUMNS)
    monkeypatch.setattr(click_blocks, "BLOCK", 100)
    monkeypatch.setattr(click_blocks, "LONGEST_LINE", 500)
    (tmp_path / "one_line").write_bytes(b"1\t2\tff\n" + b"x" * 1000)
    with pytest.raises(InputError, match=r"one_line:2: the line is longer"):
        list(open_click_file(tmp_path / "one_line", COLUMNS).blocks())
