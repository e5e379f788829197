"""Streams are built once, whole or not at all."""

import json
import os
import signal
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from datamodules.text.sources import TextFiles
from datamodules.text.token_stream import EOS, UNK, TokenStreams
from sextant.errors import InputError
from tests.datamodules.text.small_texts import BOM, Given, decoded, write_splits
from tests.filesystem import listing, snapshot
from tests.processes import in_fork


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
    root = write_splits(tmp_path / "text", train=b"a b\n", val=b"a\n")
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
    root = write_splits(tmp_path / "text", train=b"a\n", val=b"a\n", test=b"b\n\xff\n")
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
    root = write_splits(tmp_path / "text", train=BOM + "\u00e9\n".encode() * 100, val=b"a")
    TokenStreams(TextFiles(root), tmp_path / "cache")
    bars = [line.split("\r")[-1] for line in capsys.readouterr().out.strip().split("\n")]
    assert [bar.split(":")[0] for bar in bars] == [
        "Counting train text", "Tokenizing train text", "Tokenizing val text"
    ]  # fmt: skip
    assert all("100%" in bar for bar in bars)
