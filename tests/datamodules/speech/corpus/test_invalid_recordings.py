"""Recordings that cannot be used are named with the reason, and left out where that is allowed."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from datamodules.sources.invalid_samples import NAMED
from sextant.errors import InputError
from tests.datamodules.speech.corpus.small_subset import RATE, empty, expected, make_stereo, read, recordings
from tests.filesystem import cut_in_half


def put_text(file: Path) -> None:
    file.write_text("a web page that says the file was not found")


def damage_the_middle(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x10
    file.write_bytes(content)


def make_telephone(file: Path) -> None:
    soundfile.write(file, np.zeros(9000), 8000)


def make_compact_disc(file: Path) -> None:
    soundfile.write(file, np.zeros(90000), 44100)


def make_short(file: Path) -> None:
    soundfile.write(file, np.zeros(511), RATE)


def make_header_too_short(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[25] ^= 1
    file.write_bytes(content)


def put_aac(file: Path) -> None:
    file.rename(file.with_suffix(".m4a")).write_bytes(b"\0\0\0\x20ftypM4A ")


def link_to_nowhere(file: Path) -> None:
    file.unlink()
    file.symlink_to("moved-away.flac")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (empty, "not recognised"),
        (put_text, "not recognised"),
        (cut_in_half, ""),
        (damage_the_middle, ""),
        (link_to_nowhere, ""),
        (make_header_too_short, "samples, where its header says"),
        (make_stereo, "2 channels"),
        (make_telephone, "8,000 samples a second, not 16,000.*data.features.sample_rate"),
        (make_compact_disc, "44,100 samples a second, not 16,000.*data.features.sample_rate"),
        (make_short, "511 samples, and must have 512 at least"),
    ],
)
def test_recording_that_cannot_be_used_is_named_with_the_reason_and_can_be_left_out(
    subset: Path, cache: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    whole = expected(subset)
    spoilt = recordings(subset)[2]
    spoil(spoilt)
    for _ in range(2):  # the second time the manifest is there
        with pytest.raises(InputError, match=f"1 of 6 recordings cannot be used:\n.*{reason}") as error:
            read(subset, cache)
        (line,) = (line for line in str(error.value).splitlines() if str(spoilt) in line)
        assert line.removeprefix(f"  {spoilt}: ")
        assert "--data.invalid_samples=skip" in str(error.value)
    for _ in range(2):
        with pytest.warns(UserWarning, match="1 of 6 recordings") as warned:
            found = read(subset, cache, skip=True)
        assert str(spoilt) in str(warned[0].message)
        assert found == [*whole[:2], *whole[3:]]


def test_recording_of_a_format_that_is_not_read_is_named_and_can_be_left_out(subset: Path, cache: Path) -> None:
    whole = expected(subset)
    put_aac(recordings(subset)[2])
    with pytest.raises(
        InputError, match=r"1 of 6 recordings(?s:.*)\.m4a: m4a is no format that is read here: convert it"
    ):
        read(subset, cache)
    with pytest.warns(UserWarning, match="1 of 6 recordings"):
        assert read(subset, cache, skip=True) == [*whole[:2], *whole[3:]]


def test_recording_of_the_fewest_samples_is_listed(subset: Path, cache: Path) -> None:
    soundfile.write(recordings(subset)[0], np.zeros(512), RATE)
    assert read(subset, cache)[0].samples == 512


def test_recording_that_was_repaired_is_read_after_the_error(subset: Path, cache: Path) -> None:
    file = recordings(subset)[1]
    whole = file.read_bytes()
    cut_in_half(file)
    with pytest.raises(InputError, match="1 of 6"):
        read(subset, cache)
    file.write_bytes(whole)
    assert read(subset, cache) == expected(subset)


def test_many_unusable_recordings_are_counted_and_the_first_ones_named(librispeech: Path, tmp_path: Path) -> None:
    subset = shutil.copytree(librispeech / "train-small", tmp_path / "train-small")
    files = recordings(subset)
    for file in files[:-1]:
        empty(file)
    with pytest.raises(InputError, match="13 of 14 recordings") as error:
        read(subset, tmp_path / "cache")
    assert [str(file) in str(error.value) for file in files] == [True] * NAMED + [False] * (14 - NAMED)
    assert "and 3 more" in str(error.value)


def test_error_when_no_recording_can_be_used_even_if_they_may_be_left_out(subset: Path, cache: Path) -> None:
    for file in recordings(subset):
        make_stereo(file)
    with pytest.warns(UserWarning, match="6 of 6"), pytest.raises(InputError, match="none of its recordings") as error:
        read(subset, cache, skip=True)
    assert str(subset) in str(error.value)
