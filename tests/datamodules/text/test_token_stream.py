"""Streams follow the rules of reading, and are built once, whole or not at all."""

import json
import os
import shutil
import signal
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typing_extensions import override

from datamodules.text.sources import FILE_NAMES, SPLITS, DatasetText, TextFiles, TextSource
from datamodules.text.token_stream import EOS, UNK, TokenStreams
from sextant.errors import InputError
from tests.filesystem import listing, snapshot
from tests.processes import in_fork

BOM = b"\xef\xbb\xbf"


class Given(TextSource):
    """Lines from memory.

    Args:
        content: the lines of each split.
        version: the fingerprint.
        before_line: is called with the split before each of its lines.
    """

    def __init__(
        self,
        content: Mapping[str, list[str]],
        version: str = "1",
        before_line: Callable[[str], object] = lambda split: None,
    ) -> None:
        super().__init__("memory")
        self.content = content
        self.version = version
        self.before_line = before_line
        self.read: list[str] = []

    @property
    @override
    def splits(self) -> Mapping[str, str]:
        return {split: f"memory ({split})" for split in self.content}

    @override
    def size(self, split: str) -> int:
        return len(self.content[split])

    @override
    def lines(self, split: str) -> Iterator[tuple[str, int]]:
        self.read.append(split)
        for line in self.content[split]:
            self.before_line(split)
            yield line, 1

    @property
    @override
    def fingerprint(self) -> str:
        return self.version


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the user is told."""
    messages: list[str] = []
    monkeypatch.setattr("datamodules.text.token_stream.rank_zero_info", messages.append)
    return messages


def decoded(streams: TokenStreams, split: str = "train") -> list[str]:
    """A stream as words."""
    return [streams.vocabulary[number] for number in streams.open(split)]


def write_splits(root: Path, contents: Mapping[str, bytes], scheme: int = 0) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for split, content in contents.items():
        (root / FILE_NAMES[split][scheme]).write_bytes(content)
    return root


# Rules of reading


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a b\nc\n", "a b <eos> c <eos>"),
        (b"a b\nc", "a b <eos> c <eos>"),
        (b" a  b \n\t c\t\n", "a b <eos> c <eos>"),
        (b"a\r\n\r\nb\r\n", "a <eos> <eos> b <eos>"),
        (b"\n\n \n\t\na\n\n", "<eos> <eos> <eos> <eos> a <eos> <eos>"),
        (b"\n", "<eos>"),
        (BOM + b"a\nb\n", "a <eos> b <eos>"),
        ("a\u2028b\x85c\u00a0d\u3000e\vf\fg\x1ch\n".encode(), "a b c d e f g h <eos>"),
        (b"a\rb\n", "a b <eos>"),
        ("caf\u00e9 cafe\u0301 \u4e16\u754c\n".encode(), "caf\u00e9 cafe\u0301 \u4e16\u754c <eos>"),
        (b"A a A, a.\n", "A a A, a. <eos>"),
        (b"a <unk> b\n", "a <unk> b <eos>"),
        (b"a <eos> b\n", "a <eos> b <eos>"),
        (b"a\x00b -1 0 null\n", "a\x00b -1 0 null <eos>"),
    ],
    ids=range(14),
)
def test_words_are_what_white_space_separates_and_every_line_ends_in_eos(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    root = write_splits(tmp_path / "text", {"train": content, "val": content})
    streams = TokenStreams(TextFiles(root), tmp_path / "cache")
    assert decoded(streams, "train") == decoded(streams, "val") == expected.split(" ")


def test_vocabulary_is_in_the_order_of_first_appearance_in_the_training_split(tmp_path: Path) -> None:
    # The splits come in an order in which others would be first.
    content = {"val": ["z c a"], "train": ["b a b", "", "c"], "test": ["d"]}
    streams = TokenStreams(Given(content), tmp_path)
    assert streams.vocabulary == ["b", "a", EOS, "c", UNK]
    assert streams.open("train").tolist() == [0, 1, 0, 2, 2, 3, 2]
    assert streams.open("val").tolist() == [4, 3, 1, 2]
    assert streams.open("test").tolist() == [4, 2]


def test_unk_of_the_training_text_keeps_its_place_and_is_not_counted_as_unknown(tmp_path: Path) -> None:
    streams = TokenStreams(Given({"train": ["<unk> a <unk>"], "val": ["<unk> <unk> b"]}), tmp_path)
    assert streams.vocabulary == [UNK, "a", EOS]
    assert streams.open("val").tolist() == [0, 0, 0, 2]
    assert streams.unknown == {"train": 0, "val": 1}


def test_unk_that_only_another_split_has_is_appended_and_not_counted_as_unknown(tmp_path: Path) -> None:
    streams = TokenStreams(Given({"train": ["a"], "val": ["<unk> b"]}), tmp_path)
    assert streams.vocabulary == ["a", EOS, UNK]
    assert streams.open("val").tolist() == [2, 2, 1]
    assert streams.unknown == {"train": 0, "val": 1}


lines_of_words = st.lists(st.lists(st.sampled_from([*"abcdefgh", UNK]), max_size=6).map(" ".join), max_size=8)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(train=lines_of_words.filter(bool), val=lines_of_words.filter(bool), min_count=st.integers(1, 4))
def test_words_that_training_has_often_enough_are_kept_and_all_others_become_unk(
    tmp_path_factory: pytest.TempPathFactory, train: list[str], val: list[str], min_count: int
) -> None:
    cache = tmp_path_factory.mktemp("cache")
    streams = TokenStreams(Given({"train": train, "val": val}), cache, min_count)
    as_words = {
        split: [word for line in lines for word in [*line.split(), EOS]]
        for split, lines in {"train": train, "val": val}.items()
    }
    seen = list(dict.fromkeys(as_words["train"]))
    kept = [word for word in seen if word in (EOS, UNK) or as_words["train"].count(word) >= min_count]
    assert streams.vocabulary == (kept if UNK in kept else [*kept, UNK])
    for split, words in as_words.items():
        assert decoded(streams, split) == [word if word in kept else UNK for word in words]
        assert streams.unknown[split] == sum(word not in kept and word != UNK for word in words)
    shutil.rmtree(cache)


def test_number_of_unknown_words_is_said_with_the_split_and_its_percentage(tmp_path: Path, said: list[str]) -> None:
    content = {"train": ["a b", "c"], "val": ["a x y", "", "z"], "test": ["a b c"]}
    streams = TokenStreams(Given(content), tmp_path)
    assert said == []
    streams.open("val")
    (message,) = said
    assert message.startswith("memory (val): 3 of 7 words (42.86 %)")
    assert "vocabulary of 5 words" in message
    assert UNK in message


def test_nothing_is_said_of_a_split_without_unknown_words(tmp_path: Path, said: list[str]) -> None:
    streams = TokenStreams(Given({"train": ["a <unk>"], "test": ["<unk> a a"]}), tmp_path)
    streams.open("train")
    streams.open("test")
    assert said == []


def test_rare_words_of_the_training_text_are_said_as_well_and_so_they_are_by_later_runs(
    tmp_path: Path, said: list[str]
) -> None:
    for _ in range(2):
        TokenStreams(Given({"train": ["a a b", "c"]}), tmp_path, min_count=2).open("train")
    assert len(said) == 2
    assert all("2 of 6 words (33.33 %)" in message for message in said)


def test_stream_is_a_memory_map_of_int32_that_cannot_be_written_to(tmp_path: Path) -> None:
    stream = TokenStreams(Given({"train": ["a b", "c"]}), tmp_path).open("train")
    assert isinstance(stream, np.memmap)
    assert (stream.dtype, stream.shape) == (np.int32, (5,))
    with pytest.raises(ValueError, match="read-only"):
        stream[0] = 1


@pytest.mark.parametrize("scheme", [1, 0])
def test_both_schemes_of_names_give_the_same_streams(tmp_path: Path, scheme: int) -> None:
    contents = {"train": b"a b\nc\n", "val": b"c d\n", "test": b"\n"}
    streams = TokenStreams(TextFiles(write_splits(tmp_path / "text", contents, scheme)), tmp_path / "cache")
    assert {split: streams.open(split).tolist() for split in SPLITS} == {
        "train": [0, 1, 2, 3, 2], "val": [3, 4, 2], "test": [2]
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["saved to disk", "Parquet"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_set_gives_the_same_streams_as_text_files_with_the_same_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, end: str
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    contents = {
        "train": [" = Title = ", "", " a <unk>\u2028b @-@ \u00e9 ", "", "", "c"],
        "val": ["c d", "", "\u4e16 a"],
        "test": ["", "", "a"],
    }
    folder = tmp_path / "set"
    names = {"train": "train", "val": "validation", "test": "test"}
    tables = datasets.DatasetDict()
    for split, lines in contents.items():
        tables[names[split]] = datasets.Dataset.from_dict({"text": [line + end for line in lines]})
    if kind == "Parquet":
        folder.mkdir()
        for name, table in tables.items():
            table.to_parquet(folder / f"{name}.parquet")
    else:
        tables.save_to_disk(folder)
    texts = {split: "".join(line + (end or "\n") for line in lines).encode() for split, lines in contents.items()}
    files = TokenStreams(TextFiles(write_splits(tmp_path / "text", texts)), tmp_path / "cache")
    found = TokenStreams(DatasetText(str(folder), None, tmp_path / "cache"), tmp_path / "cache")
    assert found.folder != files.folder
    assert found.vocabulary == files.vocabulary == ["=", "Title", EOS, "a", UNK, "b", "@-@", "\u00e9", "c"]
    assert found.unknown == files.unknown == {"train": 0, "val": 2, "test": 0}
    for split in SPLITS:
        assert found.open(split).tolist() == files.open(split).tolist()


# What is missing


@pytest.mark.parametrize("content", [{}, {"val": ["a"]}, {"val": ["a"], "test": ["b"]}])
def test_missing_training_text_is_an_input_error_that_says_what_a_corpus_is(
    tmp_path: Path, content: dict[str, list[str]]
) -> None:
    with pytest.raises(InputError) as error:
        TokenStreams(Given(content), tmp_path / "cache")
    for needed in ("memory", "train", "data.root", "data.dataset", *content):
        assert needed in str(error.value)
    assert not (tmp_path / "cache").exists()


def test_folder_without_text_is_an_input_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    with pytest.raises(InputError) as error:
        TokenStreams(TextFiles(tmp_path / "text"), tmp_path / "cache")
    assert str(tmp_path / "text") in str(error.value)


@pytest.mark.parametrize("split", ["val", "test"])
def test_missing_split_is_an_input_error_when_it_is_opened(tmp_path: Path, split: str) -> None:
    content = {other: ["a"] for other in SPLITS if other != split}
    streams = TokenStreams(Given(content), tmp_path)
    for other in content:
        streams.open(other)
    with pytest.raises(InputError, match=f"no '{split}' split") as error:
        streams.open(split)
    for needed in ("memory", *content, FILE_NAMES[split][0], "data.root", "data.dataset"):
        assert needed in str(error.value)


@pytest.mark.parametrize("split", SPLITS)
def test_empty_file_is_an_input_error_that_names_it(tmp_path: Path, split: str) -> None:
    contents = dict.fromkeys(SPLITS, b"a\n") | {split: b""}
    root = write_splits(tmp_path / "text", contents)
    with pytest.raises(InputError, match="empty") as error:
        TokenStreams(TextFiles(root), tmp_path / "cache").open(split)
    assert str(root / FILE_NAMES[split][0]) in str(error.value)


def test_file_with_too_few_lines_to_be_divided_is_an_input_error_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("a\nb\nc\n")
    streams = TokenStreams(TextFiles(file), tmp_path / "cache")
    assert decoded(streams) == ["a", EOS, "b", EOS, "c", EOS]
    for split in ("val", "test"):
        with pytest.raises(InputError, match=f"empty.*{split}") as error:
            streams.open(split)
        assert str(file) in str(error.value)


# The folder of the streams


def test_streams_are_built_once(tmp_path: Path) -> None:
    content = {"train": ["a b"], "val": ["b c"]}
    first = TokenStreams(Given(content), tmp_path)
    before = snapshot(tmp_path)
    source = Given(content)
    second = TokenStreams(source, tmp_path)
    assert source.read == []
    assert second.folder == first.folder
    assert (second.vocabulary, second.unknown) == (first.vocabulary, first.unknown)
    assert second.open("val").tolist() == first.open("val").tolist() == [1, 3, 2]
    assert snapshot(tmp_path) == before


def test_changed_text_is_read_anew_and_the_outdated_streams_are_deleted(tmp_path: Path) -> None:
    root = write_splits(tmp_path / "text", {"train": b"a b\n", "val": b"a\n"})
    other = TokenStreams(Given({"train": ["x"]}), tmp_path / "cache")
    first = TokenStreams(TextFiles(root), tmp_path / "cache")
    os.utime(root / "train.txt", ns=(0, 7_000_000_000))
    (root / "valid.txt").write_bytes(b"b a\n")
    second = TokenStreams(TextFiles(root), tmp_path / "cache")
    assert decoded(second, "val") == ["b", "a", EOS]
    folders = [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    assert sorted(folders) == sorted([other.folder, second.folder])
    assert second.folder != first.folder


def test_stream_that_is_in_use_outlives_the_change_of_its_text(tmp_path: Path) -> None:
    in_use = TokenStreams(Given({"train": ["a b c"]}), tmp_path).open("train")
    TokenStreams(Given({"train": ["x"]}, version="2"), tmp_path)
    assert in_use.tolist() == [0, 1, 2, 3]


def test_another_min_count_builds_other_streams(tmp_path: Path) -> None:
    content = {"train": ["a a b"]}
    assert TokenStreams(Given(content), tmp_path).vocabulary == ["a", "b", EOS, UNK]
    assert TokenStreams(Given(content), tmp_path, min_count=2).vocabulary == ["a", EOS, UNK]
    assert TokenStreams(Given(content), tmp_path).vocabulary == ["a", "b", EOS, UNK]


def test_streams_of_one_run_are_not_deleted_by_another_with_another_min_count(tmp_path: Path) -> None:
    content = {"train": ["a a b"], "val": ["a"]}
    first = TokenStreams(Given(content), tmp_path)
    second = TokenStreams(Given(content), tmp_path, min_count=2)
    assert first.open("val").tolist() == [0, 2]
    assert second.open("val").tolist() == [0, 1]


def test_folder_holds_the_numbers_and_the_words_and_nothing_else(tmp_path: Path) -> None:
    streams = TokenStreams(Given({"train": ["\u00e9 \u4e16"], "val": ["b"]}), tmp_path)
    assert listing(streams.folder) == ["train.int32", "unknown.json", "val.int32", "vocabulary.json"]
    assert np.fromfile(streams.folder / "val.int32", "<i4").tolist() == [3, 2]
    words = json.loads((streams.folder / "vocabulary.json").read_text(encoding="utf-8"))
    assert words == ["\u00e9", "\u4e16", EOS, UNK]


class Stop(BaseException):
    """As KeyboardInterrupt is: no exception that a program catches."""


def stop_in(split: str, after: int, error: type[BaseException]) -> Callable[[str], None]:
    """Raise before a line of a split is given."""
    seen = 0

    def stop(present: str) -> None:
        nonlocal seen
        seen += present == split
        if present == split and seen > after:
            raise error("stopped")

    return stop


@pytest.mark.parametrize("error", [InputError, RuntimeError, Stop])
@pytest.mark.parametrize(("split", "after"), [("train", 0), ("train", 1), ("train", 3), ("test", 1)])
def test_nothing_is_kept_if_building_fails_and_the_next_run_builds(
    tmp_path: Path, error: type[BaseException], split: str, after: int
) -> None:
    content = {"train": ["a", "b"], "val": ["a"], "test": ["a", "b"]}
    with pytest.raises(error, match="stopped"):
        TokenStreams(Given(content, before_line=stop_in(split, after, error)), tmp_path)
    assert listing(tmp_path) == []
    assert decoded(TokenStreams(Given(content), tmp_path)) == ["a", EOS, "b", EOS]


def test_failed_build_of_changed_text_keeps_the_streams_that_were_there(tmp_path: Path) -> None:
    first = TokenStreams(Given({"train": ["a"]}), tmp_path)
    with pytest.raises(Stop):
        TokenStreams(Given({"train": ["b"]}, "2", stop_in("train", 0, Stop)), tmp_path)
    assert decoded(first) == ["a", EOS]
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == [first.folder]


def test_text_that_is_not_utf_8_leaves_nothing_behind(tmp_path: Path) -> None:
    root = write_splits(tmp_path / "text", {"train": b"a\n", "val": b"a\n", "test": b"b\n\xff\n"})
    with pytest.raises(InputError, match="at byte 2 ") as error:
        TokenStreams(TextFiles(root), tmp_path / "cache")
    assert str(root / "test.txt") in str(error.value)
    assert listing(tmp_path / "cache") == []


def test_killed_build_leaves_no_streams_and_the_next_one_clears_up(tmp_path: Path) -> None:
    content = {"train": ["a"] * 10, "val": ["b"]}

    def die(split: str) -> None:
        if split == "val":
            os.kill(os.getpid(), signal.SIGKILL)

    code, _ = in_fork(lambda: TokenStreams(Given(content, before_line=die), tmp_path))
    assert code == -signal.SIGKILL
    left = listing(tmp_path)
    assert any(".part/" in name for name in left), "the kill left nothing to clear away"
    assert all(name.startswith(".") for name in left)
    streams = TokenStreams(Given(content), tmp_path)
    assert {name.split("/")[0] for name in listing(tmp_path)} == {streams.folder.name}
    assert len(streams.open("train")) == 20


def test_full_disk_is_an_input_error_that_names_the_cache_and_leaves_nothing_behind(tmp_path: Path) -> None:
    lines = ["a b c d e f g h"] * 10_000  # 360 kB
    code, error = in_fork(lambda: TokenStreams(Given({"train": lines}), tmp_path), largest_file=100_000)
    assert code == 0
    assert isinstance(error, InputError)
    for needed in (str(tmp_path), "File too large", "--data.cache"):
        assert needed in str(error)
    assert listing(tmp_path) == []


def test_cache_that_cannot_be_made_is_an_input_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = tmp_path / "file" / "cache"
    with pytest.raises(InputError, match=r"--data\.cache") as error:
        TokenStreams(Given({"train": ["a"]}), cache)
    assert str(cache) in str(error.value)


def test_threads_that_want_the_streams_at_once_build_them_once(tmp_path: Path) -> None:
    sources = [Given({"train": ["a b"] * 1000, "val": ["b"]}) for _ in range(4)]
    together = threading.Barrier(4)
    found: list[Any] = []

    def want(source: Given) -> None:
        together.wait()
        found.append(TokenStreams(source, tmp_path).open("val").tolist())

    threads = [threading.Thread(target=want, args=(source,)) for source in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[1, 2]] * 4
    assert sum(bool(source.read) for source in sources) == 1


def test_memory_that_building_takes_does_not_depend_on_the_length_of_the_text(tmp_path: Path) -> None:
    class Long(Given):
        @override
        def size(self, split: str) -> int:
            return 20_000

        @override
        def lines(self, split: str) -> Iterator[tuple[str, int]]:
            for k in range(20_000):
                yield f"word{k % 7} of {k % 11} and so on", 1

    tracemalloc.start()
    try:
        streams = TokenStreams(Long({"train": []}), tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(streams.open("train")) == 140_000
    assert peak < 140_000, f"{peak:,} bytes, more than one for each word"


def test_progress_of_a_long_build_reaches_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tqdm import tqdm

    at_once: Callable[..., Any] = lambda **options: tqdm(**(options | {"delay": 0, "file": sys.stdout}))  # noqa: E731
    monkeypatch.setattr("datamodules.text.token_stream.tqdm", at_once)
    root = write_splits(tmp_path / "text", {"train": BOM + "\u00e9\n".encode() * 100, "val": b"a"})
    TokenStreams(TextFiles(root), tmp_path / "cache")
    bars = [line.split("\r")[-1] for line in capsys.readouterr().out.strip().split("\n")]
    assert [bar.split(":")[0] for bar in bars] == [
        "Counting train text", "Tokenizing train text", "Tokenizing val text"
    ]  # fmt: skip
    assert all("100%" in bar for bar in bars)
