"""The utterances of a folder are listed with their files, lengths, transcripts and speakers."""

import json
import os
from pathlib import Path

import pytest
import soundfile

from datamodules.speech.corpus import Utterance
from sextant.errors import InputError
from tests.datamodules.speech.corpus.small_subset import (
    COUNT,
    empty,
    expected,
    read,
    recordings,
)
from tests.filesystem import snapshot


def test_utterances_are_listed_by_path_with_length_transcript_and_speaker(librispeech: Path, cache: Path) -> None:
    for name, count in (("train-small", 14), ("dev-small", 6), ("test-small", 4)):
        found = read(librispeech / name, cache)
        assert len(found) == count
        assert found == expected(librispeech / name)


def test_manifest_has_a_line_of_json_for_each_utterance(subset: Path, cache: Path) -> None:
    read(subset, cache)
    (manifest,) = cache.glob("*/manifest.jsonl")
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert [line.keys() for line in lines] == [{"id", "path", "samples", "transcript", "speaker"}] * COUNT
    assert [Utterance(**line) for line in lines] == expected(subset)


def test_wav_files_and_upper_case_suffixes_are_recordings_too(subset: Path, cache: Path) -> None:
    for file, suffix in zip(recordings(subset), (".wav", ".WAV", ".FLAC"), strict=False):
        samples, rate = soundfile.read(file)
        file.unlink()
        soundfile.write(file.with_suffix(suffix), samples, rate, format=suffix[1:].upper())
    found = read(subset, cache)
    assert [Path(utterance.path).suffix for utterance in found[:3]] == [".wav", ".WAV", ".FLAC"]
    assert len(found) == COUNT


@pytest.mark.parametrize("suffix", ["mp3", "ogg", "aiff", "caf", "au", "w64"])
def test_recordings_of_other_formats_are_listed_with_their_true_lengths(subset: Path, cache: Path, suffix: str) -> None:
    first, second, *_ = recordings(subset)
    lengths = []
    for file in (first, second):
        samples, rate = soundfile.read(file)
        file.unlink()
        soundfile.write(file.with_suffix(f".{suffix}"), samples, rate)
        lengths.append(len(samples))
    first.with_suffix(f".{suffix}").write_bytes(first.with_suffix(f".{suffix}").read_bytes())
    if suffix in ("mp3", "ogg"):  # two streams one after the other
        chain = first.with_suffix(f".{suffix}")
        chain.write_bytes(chain.read_bytes() + second.with_suffix(f".{suffix}").read_bytes())
        lengths[0] = sum(lengths)
    found = read(subset, cache)
    assert [utterance.samples for utterance in found[:2]] == lengths
    assert [Path(utterance.path).suffix for utterance in found[:2]] == [f".{suffix}"] * 2


def test_other_files_beside_the_recordings_are_no_recordings(subset: Path, cache: Path) -> None:
    (subset / "README.TXT").write_text("\xe9", encoding="latin1")
    (recordings(subset)[0].parent / "notes.txt").write_text("no transcript")
    (recordings(subset)[0].parent / "cover.jpg").write_bytes(b"\xff\xd8")
    assert read(subset, cache) == expected(subset)


def test_nothing_is_written_beside_the_recordings(subset: Path, cache: Path) -> None:
    before = snapshot(subset)
    read(subset, cache)
    assert snapshot(subset) == before


@pytest.mark.parametrize("linked", ["the subset", "a recording"])
def test_links_to_recordings_are_followed(subset: Path, cache: Path, tmp_path: Path, linked: str) -> None:
    place = subset if linked == "the subset" else recordings(subset)[0]
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    assert read(subset, cache) == expected(subset)


def test_folder_of_a_speaker_may_be_a_link(subset: Path, cache: Path, tmp_path: Path) -> None:
    whole = expected(subset)
    speaker = recordings(subset)[0].parent.parent
    speaker.rename(tmp_path / "elsewhere")
    speaker.symlink_to(tmp_path / "elsewhere")
    assert read(subset, cache) == whole


def test_link_that_leads_back_is_an_input_error_and_no_endless_search(subset: Path, cache: Path) -> None:
    (subset / "loop").symlink_to(subset)
    with pytest.raises(InputError, match="same id"):
        read(subset, cache)


def test_folder_whose_name_is_not_utf8_is_read_like_any_other(subset: Path, cache: Path) -> None:
    speaker = recordings(subset)[0].parent.parent
    speaker.rename(speaker.parent / os.fsdecode(b"caf\xe9"))
    for _ in range(2):  # the second time from the manifest
        found = read(subset, cache)
        assert [subset / utterance.path for utterance in found] == recordings(subset)
        lengths = [soundfile.info(os.fsencode(file)).frames for file in recordings(subset)]
        assert [utterance.samples for utterance in found] == lengths
    empty(recordings(subset)[-1])
    with pytest.raises(InputError, match="1 of 6 recordings"):
        read(subset, cache)
