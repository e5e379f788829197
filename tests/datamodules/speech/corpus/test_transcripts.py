"""Transcripts are read as they were written, and each belongs to one recording."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.speech.corpus import read_transcripts
from sextant.errors import InputError
from tests.datamodules.speech.corpus.small_subset import RATE, read, recordings, stored, table


def write(folder: Path, content: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "1-1.trans.txt"
    file.write_bytes(content)
    return file


def transcripts(*files: Path) -> list[tuple[str, str]]:
    return [(name, words) for _, name, words in read_transcripts(list(files))]


def test_missing_folder_is_named_with_ways_to_get_one_and_nothing_is_made(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(InputError, match="no such folder") as error:
        read(tmp_path / "train-clean-5", cache)
    assert str(tmp_path / "train-clean-5") in str(error.value)
    for setting in ("--data.root", "--data.download=true", "--data.synthetic=true"):
        assert setting in str(error.value)
    assert not cache.exists()


def test_folder_without_transcripts_is_named(subset: Path, cache: Path) -> None:
    for file in subset.glob("*/*/*.trans.txt"):
        file.unlink()
    with pytest.raises(InputError, match=r"no \*\.trans\.txt") as error:
        read(subset, cache)
    assert str(error.value).startswith(str(subset))


def test_transcript_without_a_recording_is_named_with_file_and_line(subset: Path, cache: Path) -> None:
    file = table(subset)
    name = file.read_text().splitlines()[1].split()[0]
    (file.parent / f"{name}.flac").unlink()
    with pytest.raises(InputError, match="no recording") as error:
        read(subset, cache)
    assert str(error.value).startswith(f"{file}:2: ")
    assert f"{name}.flac" in str(error.value)
    assert stored(cache) == []


def test_recording_without_a_transcript_is_named(subset: Path, cache: Path) -> None:
    file = table(subset)
    first, *others = file.read_text().splitlines(keepends=True)
    file.write_text("".join(others))
    name = first.split()[0]
    with pytest.raises(InputError, match=r"no \*\.trans\.txt has a transcript") as error:
        read(subset, cache)
    assert str(error.value).startswith(str(file.parent / f"{name}.flac"))
    assert stored(cache) == []


@pytest.mark.parametrize("other", ["{name}.wav", "../../9/9/{name}.flac"])
def test_two_recordings_of_the_same_id_are_both_named(subset: Path, cache: Path, other: str) -> None:
    first = recordings(subset)[0]
    second = Path(os.path.normpath(first.parent / other.format(name=first.stem)))
    second.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(second, np.zeros(9000), RATE)
    with pytest.raises(InputError, match="same id") as error:
        read(subset, cache)
    assert str(first) in str(error.value)
    assert str(second) in str(error.value)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_two_transcripts_of_the_same_id_are_both_named_with_their_lines(tmp_path: Path, elsewhere: bool) -> None:
    first = write(tmp_path / "1", b"a ONE\nb TWO\n" + b"a THREE\n" * (not elsewhere))
    second = write(tmp_path / "2", b"\na THREE\n") if elsewhere else first
    with pytest.raises(InputError, match="a has a transcript already") as error:
        transcripts(first, second)
    assert str(error.value).startswith(f"{second}:{2 if elsewhere else 3}: ")
    assert f"{first}:1" in str(error.value)


@pytest.mark.parametrize("blank", ["", " ", " \t ", "\r", " \u3000"])
def test_empty_transcript_is_named_with_file_and_line(tmp_path: Path, blank: str) -> None:
    file = write(tmp_path, f"a ONE\n\nb{blank}\nc THREE\n".encode())
    with pytest.raises(InputError, match="the transcript of b is empty") as error:
        transcripts(file)
    assert str(error.value).startswith(f"{file}:3: ")


def test_transcripts_that_are_not_utf8_are_named_with_file_and_offset(tmp_path: Path) -> None:
    file = write(tmp_path, b"a ONE\nb CAF\xc9\n")
    with pytest.raises(InputError, match=r"at byte 11 \(0xc9\)") as error:
        transcripts(file)
    assert str(file) in str(error.value)


@pytest.mark.parametrize("end", ["\n", "\r\n", "  \n", "\t\n", "\n\n", "\n \t\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("gap", [" ", "\t", "  "])
def test_blanks_line_ends_and_a_byte_order_mark_do_not_count(
    tmp_path: Path, end: str, mark: bytes, closed: bool, gap: str
) -> None:
    lines = [gap.join(words) for words in (["1-1-0", "HELLO", "WORLD"], ["1-1-1", "\xc9T\xc9", "\u03a9"])]
    file = write(tmp_path, mark + (end.join(lines) + end * closed).encode())
    assert transcripts(file) == [("1-1-0", "HELLO WORLD"), ("1-1-1", "\xc9T\xc9 \u03a9")]


WORDS = st.lists(st.text(st.characters(exclude_categories=("Z", "C")), min_size=1), min_size=2, max_size=4)


@settings(deadline=None, max_examples=60)
@given(lines=st.lists(WORDS, max_size=5, unique_by=lambda words: words[0]), gap=st.sampled_from([" ", "  ", "\t"]))
def test_every_transcript_that_can_be_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, lines: list[list[str]], gap: str
) -> None:
    text = "".join(f"{gap.join(words)}\n" for words in lines)
    file = write(tmp_path_factory.getbasetemp() / "written", b"\xef\xbb\xbf" + text.encode())
    assert transcripts(file) == [(words[0], " ".join(words[1:])) for words in lines]
    assert [where for where, *_ in read_transcripts([file])] == [f"{file}:{k}" for k in range(1, len(lines) + 1)]
