"""Streams follow the rules of reading, and what is missing of a corpus is named."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datamodules.text.sources import FILE_NAMES, SPLITS, DatasetText, TextFiles
from datamodules.text.token_stream import EOS, UNK, TokenStreams
from sextant.errors import InputError
from tests.datamodules.text.small_texts import BOM, Given, decoded, write_splits


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the user is told."""
    messages: list[str] = []
    monkeypatch.setattr("datamodules.text.token_stream.rank_zero_info", messages.append)
    return messages


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
        (b"a\rb\n", "a <eos> b <eos>"),
        ("caf\u00e9 cafe\u0301 \u4e16\u754c\n".encode(), "caf\u00e9 cafe\u0301 \u4e16\u754c <eos>"),
        (b"A a A, a.\n", "A a A, a. <eos>"),
        (b"a <unk> b\n", "a <unk> b <eos>"),
        (b"a <eos> b\n", "a <eos> b <eos>"),
        (b"-1 0 null\n", "-1 0 null <eos>"),
    ],
    ids=range(14),
)
def test_words_are_what_white_space_separates_and_every_line_ends_in_eos(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    root = write_splits(tmp_path / "text", train=content, val=content)
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
    streams = TokenStreams(TextFiles(write_splits(tmp_path / "text", scheme, **contents)), tmp_path / "cache")
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
    files = TokenStreams(TextFiles(write_splits(tmp_path / "text", **texts)), tmp_path / "cache")
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
    root = write_splits(tmp_path / "text", **contents)
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
