"""The lines of text files are read as they are, and what is wrong with the files is named."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from datamodules.text.sources import SPLITS, TextFiles
from sextant.errors import InputError
from tests.datamodules.text.small_texts import BOM, OTHER_BREAKS, read_all, texts, words, write_splits
from tests.filesystem import listing

#: What a line may hold. A byte order mark at the start of a file is not part of its first line.
any_line = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\0\ufeff"), max_size=12)


# Lines


@pytest.mark.parametrize(
    "names", [("train.txt", "valid.txt", "test.txt"), ("wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens")]
)
def test_splits_are_found_under_plain_names_and_those_of_the_published_archives(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    for split, name in zip(SPLITS, names, strict=True):
        (tmp_path / name).write_text(f"words of {split}\n")
    (tmp_path / "readme.txt").write_text("not a split\n")
    source = TextFiles(tmp_path)
    assert source.splits == {split: str(tmp_path / name) for split, name in zip(SPLITS, names, strict=True)}
    assert {split: texts(source, split) for split in SPLITS} == {split: [f"words of {split}"] for split in SPLITS}


def test_splits_that_are_not_there_are_not_named(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("a\n")
    (tmp_path / "valid.txt").mkdir()
    assert list(TextFiles(tmp_path).splits) == ["train"]
    assert TextFiles(tmp_path / "valid.txt").splits == {}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a b\nc\n", ["a b", "c"]),
        (b"a b\nc", ["a b", "c"]),
        (b"a b\r\nc\r\n", ["a b", "c"]),
        (b"a b\r\nc", ["a b", "c"]),
        (b"a b\rc\r", ["a b", "c"]),
        (b"a b\rc", ["a b", "c"]),
        (b"\n\na\n\n", ["", "", "a", ""]),
        (b"\n", [""]),
        (b" ", [" "]),
        (b"", []),
        (BOM + b"a b\nc\n", ["a b", "c"]),
        (BOM, [""]),
        (BOM + b"\n", [""]),
        ("\u00e9 \u4e16\U0001f600\n".encode(), ["\u00e9 \u4e16\U0001f600"]),
    ],
)
def test_every_line_break_ends_a_line_and_so_does_the_end_of_the_file(
    tmp_path: Path, content: bytes, expected: list[str]
) -> None:
    write_splits(tmp_path, train=content, val=content)
    source = TextFiles(tmp_path)
    assert texts(source, "train") == texts(source, "val") == expected


@pytest.mark.parametrize("character", [character for character in OTHER_BREAKS if character != "\r"])
def test_other_separators_are_not_line_ends_but_part_words(tmp_path: Path, character: str) -> None:
    write_splits(tmp_path, train=f"a{character}b\nc\n".encode())
    assert words(TextFiles(tmp_path)) == [["a", "b"], ["c"]]


def test_mark_in_the_middle_of_a_file_is_left_as_it_is(tmp_path: Path) -> None:
    write_splits(tmp_path, train=b"a\n" + BOM + b"b\n")
    assert texts(TextFiles(tmp_path)) == ["a", "\ufeffb"]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(any_line, max_size=20),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    last=st.booleans(),
    bom=st.booleans(),
)
def test_lines_of_a_file_are_those_that_were_written_and_their_sizes_are_the_files(
    tmp_path: Path, lines: list[str], end: str, last: bool, bom: bool
) -> None:
    if lines and not lines[-1] and not last:  # an empty line that nothing ends is no line
        lines.pop()
        last = True
    content = BOM * bom + (end.join(lines) + end * (last and bool(lines))).encode()
    source = TextFiles(write_splits(tmp_path, train=content))
    assert texts(source) == (lines or [""] * bom)
    assert sum(size for _, size in source.lines("train")) == source.size("train") == len(content)


def test_reading_twice_gives_the_same_lines(tmp_path: Path) -> None:
    source = TextFiles(write_splits(tmp_path, train=b"a\nb\n"))
    first = source.lines("train")
    next(first)
    assert texts(source) == ["a", "b"]
    assert [line for line, _ in first] == ["b\n"]


def test_missing_root_is_named_with_every_way_to_get_text(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        TextFiles(tmp_path / "nowhere")
    for needed in (str(tmp_path / "nowhere"), "data.root", "--data.dataset=", "--data.synthetic=true"):
        assert needed in str(error.value)
    assert listing(tmp_path) == []


def test_link_to_nowhere_is_a_missing_root(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match="there is no such folder or file"):
        TextFiles(tmp_path / "link")


# What is not UTF-8


@pytest.mark.parametrize(
    ("content", "line", "offset"),
    [
        (b"\xff", 1, 0),
        (b"caf\xe9\n", 1, 3),
        (b"a\nb \xff c\nd\n", 2, 4),
        ("\u00e9\u4e16\n\u00e9 ".encode() + b"\xe9\n", 2, 9),
        (b"a\nb\xc3", 2, 3),  # a character that the end of the file cuts off
        (b"a\xc3\nb\n", 1, 1),  # one that a line break cuts off
        (b"a\n\xed\xa0\x80\n", 2, 2),  # half a surrogate pair
        (b"a\n\xc0\xaf\n", 2, 2),  # a slash in two bytes
        (b"x " * 2_000_000 + b"\n" + b"y\n" * 100_000 + b"z\xfe\n", 100_002, 4_200_002),
    ],
    ids=range(9),
)
def test_what_is_not_utf_8_is_named_with_file_line_and_offset(
    tmp_path: Path, content: bytes, line: int, offset: int
) -> None:
    source = TextFiles(write_splits(tmp_path, train=b"fine\n", val=content))
    assert texts(source, "train") == ["fine"]
    with pytest.raises(InputError, match=rf"at byte {offset} \(0x{content[offset]:02x}\)") as error:
        texts(source, "val")
    assert str(error.value).startswith(f"{tmp_path / 'valid.txt'}:{line}: ")
    assert "iconv" in str(error.value)


@pytest.mark.parametrize(("text", "offset"), [(b"ab \xff\n", 6), (b"ab\n\xff\n", 6), (b"\xe9", 3)])
def test_offset_counts_the_byte_order_mark(tmp_path: Path, text: bytes, offset: int) -> None:
    source = TextFiles(write_splits(tmp_path, train=BOM + text))
    with pytest.raises(InputError, match=rf"at byte {offset} \(0x{(BOM + text)[offset]:02x}\)"):
        texts(source)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.lists(any_line, max_size=30), after=st.lists(any_line, max_size=30), bad=st.integers(0xF8, 0xFF))
def test_offset_in_a_single_file_is_that_of_the_first_wrong_byte(
    tmp_path: Path, before: list[str], after: list[str], bad: int
) -> None:
    start = "\n".join(before).encode()
    file = tmp_path / "text.txt"
    file.write_bytes(start + bytes([bad]) + b"\n" + "\n".join(after).encode() + b"\n\xfa")
    with pytest.raises(InputError) as error:
        read_all(TextFiles(file))
    assert str(error.value).startswith(f"{file}:{max(1, len(before))}: ")
    assert re.findall(r"at byte (\d+) \((0x\w\w)\)", str(error.value)) == [(str(len(start)), f"{bad:#x}")]


@pytest.mark.parametrize(("number", "split"), [(0, "train"), (89, "train"), (90, "val"), (95, "test"), (99, "test")])
def test_wrong_byte_stops_only_the_split_of_a_single_file_that_it_is_in(
    tmp_path: Path, number: int, split: str
) -> None:
    lines = [b"line %d\n" % k for k in range(100)]
    lines[number] = b"\xff\n"
    file = tmp_path / "text.txt"
    file.write_bytes(b"".join(lines))
    source = TextFiles(file)
    with pytest.raises(InputError, match=f"at byte {sum(map(len, lines[:number]))} "):
        texts(source, split)
    for other in {*SPLITS} - {split}:
        texts(source, other)


# A single file, divided


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(st.sampled_from(["a", "b c", "", " ", "\u00e9\u2028d"]), max_size=130),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    last=st.booleans(),
    bom=st.booleans(),
)
@example(lines=[], end="\n", last=True, bom=False)
@example(lines=["a"], end="\n", last=False, bom=False)
@example(lines=["a", "a"], end="\n", last=True, bom=False)
@example(lines=["a", "a", "a"], end="\n", last=True, bom=True)
def test_every_line_of_a_single_file_is_in_exactly_one_split_in_order(
    tmp_path: Path, lines: list[str], end: str, last: bool, bom: bool
) -> None:
    # Lines that differ, so that each is found where it belongs.
    lines = [f"{k} {line}" for k, line in enumerate(lines)]
    file = tmp_path / "text.txt"
    file.write_bytes(BOM * (bom and bool(lines)) + (end.join(lines) + end * (last and bool(lines))).encode())
    source = TextFiles(file)
    assert list(source.splits) == list(SPLITS)
    parts = [texts(source, split) for split in SPLITS]
    assert [line for part in parts for line in part] == lines
    borders = [len(parts[0]), len(parts[0]) + len(parts[1])]
    assert all(
        abs(border - fraction * len(lines)) <= 0.5 for border, fraction in zip(borders, (0.9, 0.95), strict=True)
    )
    assert sum(source.size(split) for split in SPLITS) == file.stat().st_size
    for split in SPLITS:
        assert sum(size for _, size in source.lines(split)) == source.size(split)


@pytest.mark.parametrize(
    ("lines", "counts"),
    [
        (0, (0, 0, 0)),
        (1, (1, 0, 0)),
        (2, (2, 0, 0)),
        (3, (3, 0, 0)),
        (20, (18, 1, 1)),
        (100, (90, 5, 5)),
        (1000, (900, 50, 50)),
    ],
)
def test_single_file_is_divided_at_90_and_95_percent_of_its_lines(
    tmp_path: Path, lines: int, counts: tuple[int, ...]
) -> None:
    file = tmp_path / "text.txt"
    # Long lines come first: the cut is by lines, not by bytes.
    file.write_text("".join(f"{'word ' * (100 if k < lines / 2 else 1)}\n" for k in range(lines)))
    assert tuple(len(texts(TextFiles(file), split)) for split in SPLITS) == counts


def test_splits_of_a_single_file_are_named_by_it(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("a\n" * 40)
    assert TextFiles(file).splits == dict.fromkeys(SPLITS, str(file))


# Whether the text has changed


def changed_length(root: Path) -> None:
    (root / "valid.txt").write_text("a b\n")


def changed_time(root: Path) -> None:
    os.utime(root / "test.txt", ns=(0, 7_000_000_001))


def removed_split(root: Path) -> None:
    (root / "test.txt").unlink()


def other_name(root: Path) -> None:
    (root / "train.txt").rename(root / "wiki.train.tokens")


@pytest.mark.parametrize("change", [changed_length, changed_time, removed_split, other_name])
def test_fingerprint_changes_with_the_files(tmp_path: Path, change: Callable[[Path], None]) -> None:
    write_splits(tmp_path, train=b"a\n", val=b"a\n", test=b"a\n")
    for file in tmp_path.iterdir():
        os.utime(file, ns=(0, 7_000_000_000))
    before = TextFiles(tmp_path).fingerprint
    change(tmp_path)
    for file in tmp_path.iterdir():
        if change is not changed_time:
            os.utime(file, ns=(0, 7_000_000_000))  # as copies that keep the time have it
    assert TextFiles(tmp_path).fingerprint != before


def test_fingerprint_stays_when_nothing_changes_however_the_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = TextFiles(write_splits(tmp_path / "text", train=b"a\n", val=b"b\n"))
    before = source.fingerprint
    read_all(source)
    assert source.fingerprint == TextFiles(tmp_path / "text").fingerprint == before
    monkeypatch.chdir(tmp_path)
    assert TextFiles(Path("text")).fingerprint == before
    (tmp_path / "text" / "notes.txt").write_text("beside the text")
    assert TextFiles(tmp_path / "text").fingerprint == before


def test_fingerprints_of_a_folder_and_of_its_single_file_differ(tmp_path: Path) -> None:
    write_splits(tmp_path, train=b"a\nb\n")
    assert TextFiles(tmp_path).fingerprint != TextFiles(tmp_path / "train.txt").fingerprint
