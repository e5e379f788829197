"""The lines of a corpus are the same from files and from sets, and what is wrong with either is named."""

import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from datamodules.text.sources import FILE_NAMES, SPLITS, DatasetText, TextFiles, TextSource
from sextant.errors import InputError
from tests.filesystem import cut_in_half, listing, snapshot

#: Characters that str.splitlines takes for line ends, and this reader must not.
OTHER_BREAKS = ("\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029")
BOM = b"\xef\xbb\xbf"

LINES = ["one two", "", " = A title = ", "\tthree \u00e9\u4e16\u3000four", "", "", "five\u2028six\x85seven", "<unk>"]

#: What a line may hold. A byte order mark at the start of a file is not part of its first line.
any_line = st.text(st.characters(codec="utf-8", exclude_characters="\n\ufeff"), max_size=12)


def texts(source: TextSource, split: str = "train") -> list[str]:
    """The lines of a split without their ends."""
    return [line.rstrip("\r\n") for line, _ in source.lines(split)]


def words(source: TextSource, split: str = "train") -> list[list[str]]:
    return [line.split() for line, _ in source.lines(split)]


def write_splits(root: Path, **contents: bytes) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for split, content in contents.items():
        (root / FILE_NAMES[split][0]).write_bytes(content)
    return root


def read_all(source: TextSource) -> None:
    for split in source.splits:
        texts(source, split)


# Files


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
        (b"\n\na\n\n", ["", "", "a", ""]),
        (b"\n", [""]),
        (b" ", [" "]),
        (b"", []),
        (BOM + b"a b\nc\n", ["a b", "c"]),
        (BOM, [""]),
        (BOM + b"\n", [""]),
        ("\u00e9 \u4e16\U0001f600\n".encode(), ["\u00e9 \u4e16\U0001f600"]),
        (b"a\x00b\n", ["a\x00b"]),
    ],
)
def test_every_line_break_ends_a_line_and_so_does_the_end_of_the_file(
    tmp_path: Path, content: bytes, expected: list[str]
) -> None:
    write_splits(tmp_path, train=content, val=content)
    source = TextFiles(tmp_path)
    assert texts(source, "train") == texts(source, "val") == expected


@pytest.mark.parametrize("character", OTHER_BREAKS)
def test_other_separators_are_not_line_ends_but_part_words(tmp_path: Path, character: str) -> None:
    write_splits(tmp_path, train=f"a{character}b\nc\n".encode())
    assert words(TextFiles(tmp_path)) == [["a", "b"], ["c"]]


def test_mark_in_the_middle_of_a_file_is_left_as_it_is(tmp_path: Path) -> None:
    write_splits(tmp_path, train=b"a\n" + BOM + b"b\n")
    assert texts(TextFiles(tmp_path)) == ["a", "\ufeffb"]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(any_line, max_size=20), end=st.sampled_from(["\n", "\r\n"]), last=st.booleans(), bom=st.booleans()
)
def test_lines_of_a_file_are_those_that_were_written_and_their_sizes_are_the_files(
    tmp_path: Path, lines: list[str], end: str, last: bool, bom: bool
) -> None:
    lines = [line.rstrip("\r") for line in lines]
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
    ("content", "offset"),
    [
        (b"\xff", 0),
        (b"caf\xe9\n", 3),
        (b"a\nb \xff c\nd\n", 4),
        ("\u00e9\u4e16\n\u00e9 ".encode() + b"\xe9\n", 9),
        (b"a\nb\xc3", 3),  # a character that the end of the file cuts off
        (b"a\xc3\nb\n", 1),  # one that a line break cuts off
        (b"a\n\xed\xa0\x80\n", 2),  # half a surrogate pair
        (b"a\n\xc0\xaf\n", 2),  # a slash in two bytes
        (b"x " * 2_000_000 + b"\n" + b"y\n" * 100_000 + b"z\xfe\n", 4_200_002),
        ("a b\n".encode("utf-16"), 0),
        (b"PK\x03\x04\n\x00\x92", 6),  # an archive
    ],
    ids=range(11),
)
def test_what_is_not_utf_8_is_named_with_file_and_offset(tmp_path: Path, content: bytes, offset: int) -> None:
    source = TextFiles(write_splits(tmp_path, train=b"fine\n", val=content))
    assert texts(source, "train") == ["fine"]
    with pytest.raises(InputError, match=rf"at byte {offset} \(0x{content[offset]:02x}\)") as error:
        texts(source, "val")
    assert str(error.value).startswith(f"{tmp_path / 'valid.txt'}: ")
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
    assert str(error.value).startswith(f"{file}: ")
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


# One file that is cut


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(st.sampled_from(["a", "b c", "", " ", "\u00e9\u2028d"]), max_size=130),
    end=st.sampled_from(["\n", "\r\n"]),
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


# Sets of Hugging Face


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The library ``datasets`` in a working folder and a home of its own, without network."""
    import datasets
    import huggingface_hub.constants

    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    for name in ("HF_CACHE_HOME", "HF_DATASETS_CACHE", "HF_MODULES_CACHE", "DOWNLOADED_DATASETS_PATH"):
        monkeypatch.setattr(datasets.config, name, home / name)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    def refuse(self: socket.socket, address: object) -> None:
        raise AssertionError(f"{address} was asked for over the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    datasets.disable_progress_bars()
    yield datasets
    datasets.enable_progress_bars()
    assert listing(home) == listing(here) == [], "something was written outside of the cache"


def rows(datasets: Any, lines: list[Any]) -> Any:
    return datasets.Dataset.from_dict({"text": lines})


def save_parquet(folder: Path, datasets: Any, **splits: list[Any]) -> Path:
    folder.mkdir(parents=True)
    for name, lines in splits.items():
        rows(datasets, lines).to_parquet(folder / f"{name}.parquet")
    return folder


def saved_to_disk(datasets: Any, lines: dict[str, list[str]], folder: Path) -> None:
    datasets.DatasetDict({name: rows(datasets, split) for name, split in lines.items()}).save_to_disk(folder)


def parquet_files(datasets: Any, lines: dict[str, list[str]], folder: Path) -> None:
    save_parquet(folder, datasets, **lines)


def parquet_files_as_on_the_hub(datasets: Any, lines: dict[str, list[str]], folder: Path) -> None:
    save_parquet(folder / "data", datasets, **{f"{name}-00000-of-00001": split for name, split in lines.items()})


def several_parquet_files(datasets: Any, lines: dict[str, list[str]], folder: Path) -> None:
    parts = {}
    for name, split in lines.items():
        for k in range(3):
            parts[f"{name}-{k:05}-of-00003"] = split[3 * k :] if k == 2 else split[3 * k : 3 * k + 3]
    save_parquet(folder / "data", datasets, **parts)


def arrow_files(datasets: Any, lines: dict[str, list[str]], folder: Path) -> None:
    saved_to_disk(datasets, lines, folder / "saved")
    for name in lines:
        (file,) = (folder / "saved" / name).glob("*.arrow")
        file.rename(folder / f"{name}.arrow")
    shutil.rmtree(folder / "saved")


@pytest.mark.parametrize(
    "save", [saved_to_disk, parquet_files, parquet_files_as_on_the_hub, several_parquet_files, arrow_files]
)
@pytest.mark.parametrize("end", ["", "\n"])
def test_set_gives_the_lines_of_text_files(
    hub: Any, tmp_path: Path, save: Callable[[Any, dict[str, list[str]], Path], None], end: str
) -> None:
    content = {"train": LINES, "validation": LINES[::-1], "test": LINES[3:] * 2}
    save(hub, {name: [line + end for line in lines] for name, lines in content.items()}, tmp_path / "set")
    before = snapshot(tmp_path / "set")
    found = DatasetText(str(tmp_path / "set"), None, tmp_path / "cache")
    files = TextFiles(
        write_splits(
            tmp_path / "files", **{s.replace("validation", "val"): "\n".join(k).encode() for s, k in content.items()}
        )
    )
    assert list(found.splits) == list(files.splits) == list(SPLITS)
    for split in SPLITS:
        assert texts(found, split) == texts(files, split)
        assert sum(size for _, size in found.lines(split)) == found.size(split)
        assert str(tmp_path / "set") in found.splits[split]
    assert snapshot(tmp_path / "set") == before


@pytest.mark.parametrize("end", ["", "\n"])
def test_row_may_hold_several_lines(hub: Any, tmp_path: Path, end: str) -> None:
    pieces = ["one\ntwo", "", "three\n\n\nfour", "five", "\nsix"]
    saved_to_disk(hub, {"train": [piece + end for piece in pieces]}, tmp_path / "set")
    found = DatasetText(str(tmp_path / "set"), None, tmp_path / "cache")
    assert texts(found) == ["one", "two", "", "three", "", "", "four", "five", "", "six"]
    assert sum(size for _, size in found.lines("train")) == found.size("train") == len(pieces)


def test_rows_that_end_in_blank_lines_keep_them(hub: Any, tmp_path: Path) -> None:
    saved_to_disk(hub, {"train": ["one\n\n", "\n", "\n\n", "two\r\n"]}, tmp_path / "set")
    assert texts(DatasetText(str(tmp_path / "set"), None, tmp_path / "cache")) == ["one", "", "", "", "", "two"]


@pytest.mark.parametrize("character", OTHER_BREAKS)
def test_other_separators_are_not_line_ends_in_rows_either(hub: Any, tmp_path: Path, character: str) -> None:
    saved_to_disk(hub, {"train": [f"a{character}b\nc"]}, tmp_path / "set")
    assert words(DatasetText(str(tmp_path / "set"), None, tmp_path / "cache")) == [["a", "b"], ["c"]]


def test_more_rows_than_are_read_at_a_time_come_in_order(hub: Any, tmp_path: Path) -> None:
    lines = [f"line {k}" for k in range(2501)]
    saved_to_disk(hub, {"train": lines}, tmp_path / "set")
    assert texts(DatasetText(str(tmp_path / "set"), None, tmp_path / "cache")) == lines


@pytest.mark.parametrize("name", ["validation", "valid", "val", "dev"])
def test_validation_split_of_a_set_has_several_names(hub: Any, tmp_path: Path, name: str) -> None:
    saved_to_disk(hub, {"train": ["a"], name: ["b"], "unsupervised": ["c"]}, tmp_path / "set")
    found = DatasetText(str(tmp_path / "set"), None, tmp_path / "cache")
    assert list(found.splits) == ["train", "val"]
    assert texts(found, "val") == ["b"]


def test_other_columns_of_a_set_do_not_matter(hub: Any, tmp_path: Path) -> None:
    table = hub.Dataset.from_dict({"id": [1, 2], "text": ["a", "b"], "date": [None, "today"]})
    hub.DatasetDict({"train": table}).save_to_disk(tmp_path / "set")
    assert texts(DatasetText(str(tmp_path / "set"), None, tmp_path / "cache")) == ["a", "b"]


def test_set_without_a_column_of_text_is_named_with_the_columns_that_it_has(hub: Any, tmp_path: Path) -> None:
    good = rows(hub, ["a"])
    bad = hub.Dataset.from_dict({"sentence": ["a"], "label": [0]})
    hub.DatasetDict({"train": good, "test": bad}).save_to_disk(tmp_path / "set")
    with pytest.raises(InputError, match="'test' has no column 'text'") as error:
        DatasetText(str(tmp_path / "set"), None, tmp_path / "cache")
    for needed in (str(tmp_path / "set"), "sentence", "label", "data.dataset"):
        assert needed in str(error.value)


@pytest.mark.parametrize("bad", [[None, "a"], ["a", None], [1, 2], [["a", "b"], ["c"]]], ids=str)
def test_column_that_is_not_all_text_is_an_input_error_that_names_the_set(
    hub: Any, tmp_path: Path, bad: list[Any]
) -> None:
    save_parquet(tmp_path / "set", hub, train=bad)
    with pytest.raises(InputError) as error:
        read_all(DatasetText(str(tmp_path / "set"), None, tmp_path / "cache"))
    assert str(tmp_path / "set") in str(error.value)


def test_name_that_the_hub_cannot_be_asked_for_is_an_input_error_that_says_what_to_check(
    hub: Any, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="cannot be loaded") as error:
        DatasetText("Salesforce/wikitext", "wikitext-2-v1", tmp_path / "cache")
    for needed in ("Salesforce/wikitext: ", "data.dataset", "data.dataset_config", "network", "--data.root"):
        assert needed in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("ConnectionError", "Couldn't reach 'some/set' on the Hub (OfflineModeIsEnabled)"),
        ("DatasetNotFoundError", "Dataset 'some/set' doesn't exist on the Hub or cannot be accessed."),
        ("ValueError", "BuilderConfig 'some' not found. Available: ['other']"),
        ("HFValidationError", "Repo id must use alphanumeric chars"),
        ("DatasetGenerationError", "An error occurred while generating the dataset"),
        ("RuntimeError", "Dataset scripts are no longer supported, but found set.py"),
    ],
)
def test_whatever_keeps_a_set_from_being_loaded_is_an_input_error_with_its_reason(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, text: str
) -> None:
    import huggingface_hub.errors

    kinds = {error.__name__: error for error in (ConnectionError, ValueError, RuntimeError)}
    found = kinds.get(kind) or getattr(hub.exceptions, kind, None) or getattr(huggingface_hub.errors, kind)

    def fail(*args: object, **options: object) -> None:
        raise found(f"{text}\nand more lines")

    monkeypatch.setattr(hub, "load_dataset", fail)
    with pytest.raises(InputError) as error:
        DatasetText("some/set", "some", tmp_path / "cache")
    assert str(error.value).startswith("some/set: ")
    assert text in str(error.value)
    assert "\n" not in str(error.value)


def test_name_and_configuration_and_cache_reach_the_hub(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def load(*args: object, **options: object) -> Any:
        asked.append((args, options))
        return hub.DatasetDict({"train": rows(hub, ["a"])})

    monkeypatch.setattr(hub, "load_dataset", load)
    assert texts(DatasetText("some/set", "small", tmp_path / "cache")) == ["a"]
    ((args, options),) = asked
    assert args == ("some/set", "small")
    assert Path(str(options["cache_dir"])).is_relative_to(tmp_path / "cache")


def missing_folder(hub: Any, folder: Path) -> None:
    pass


def empty_folder(hub: Any, folder: Path) -> None:
    folder.mkdir()


def half_a_parquet_file(hub: Any, folder: Path) -> None:
    save_parquet(folder, hub, train=["a"] * 1000)
    cut_in_half(folder / "train.parquet")


def half_an_arrow_file(hub: Any, folder: Path) -> None:
    saved_to_disk(hub, {"train": ["a"] * 1000}, folder)
    (file,) = (folder / "train").glob("*.arrow")
    cut_in_half(file)


def missing_split(hub: Any, folder: Path) -> None:
    saved_to_disk(hub, {"train": ["a"], "test": ["b"]}, folder)
    shutil.rmtree(folder / "test")


def single_table(hub: Any, folder: Path) -> None:
    rows(hub, ["a"]).save_to_disk(folder)


def broken_description(hub: Any, folder: Path) -> None:
    saved_to_disk(hub, {"train": ["a"]}, folder)
    cut_in_half(folder / "dataset_dict.json")


def script(hub: Any, folder: Path) -> None:
    folder.mkdir()
    (folder / f"{folder.name}.py").write_text("class Set: ...")


@pytest.mark.parametrize(
    "make",
    [
        missing_folder,
        empty_folder,
        half_a_parquet_file,
        half_an_arrow_file,
        missing_split,
        single_table,
        broken_description,
        script,
    ],
)
def test_folder_that_holds_no_set_is_an_input_error_that_names_it(
    hub: Any, tmp_path: Path, make: Callable[[Any, Path], None]
) -> None:
    make(hub, tmp_path / "set")
    with pytest.raises(InputError) as error:
        read_all(DatasetText(str(tmp_path / "set"), None, tmp_path / "cache"))
    assert str(error.value).startswith(f"{tmp_path / 'set'}: ")
    assert "data.dataset" in str(error.value)


@pytest.mark.parametrize("save", [saved_to_disk, parquet_files])
def test_fingerprint_of_a_set_changes_with_its_text_alone(
    hub: Any, tmp_path: Path, save: Callable[[Any, dict[str, list[str]], Path], None]
) -> None:
    def fingerprint() -> str:
        return DatasetText(str(tmp_path / "set"), None, tmp_path / "cache").fingerprint

    save(hub, {"train": ["a", "b"], "validation": ["c"]}, tmp_path / "set")
    before = fingerprint()
    assert fingerprint() == before
    shutil.rmtree(tmp_path / "set")
    save(hub, {"train": ["a", "b"], "validation": ["d"]}, tmp_path / "set")
    assert fingerprint() != before
