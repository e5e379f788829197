"""Ogg files are read to the end of their last stream, and every page of them counts."""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.speech.audio_file import InvalidAudioError, read_audio
from tests.datamodules.speech.formats.encoded import ID3V1, RATE, assert_invalid, decode, encode, noise

SUBTYPES = ["VORBIS", "OPUS"]


def ogg(subtype: str, seed: int = 0, rate: int = RATE, seconds: float = 4) -> bytes:
    sound = np.random.default_rng(seed).uniform(-0.3, 0.3, (round(seconds * rate), 1))
    return encode("OGG", sound, rate, subtype=subtype)


def pages(content: bytes) -> Iterator[bytes]:
    place = 0
    while place < len(content):
        segments = content[place + 26]
        stop = place + 27 + segments + sum(content[place + 27 : place + 27 + segments])
        yield content[place:stop]
        place = stop


@pytest.mark.parametrize("subtype", SUBTYPES)
@pytest.mark.parametrize("behind", [b"", ID3V1, bytes(500)])
def test_streams_one_after_the_other_are_read_one_after_the_other(subtype: str, behind: bytes) -> None:
    files = [ogg(subtype, seed, seconds=1 + seed / 7) for seed in range(3)]
    np.testing.assert_array_equal(decode(b"".join(files) + behind), np.concatenate([decode(file) for file in files]))


@pytest.mark.parametrize("subtype", SUBTYPES)
def test_part_is_that_part_of_the_whole_across_streams(tmp_path: Path, subtype: str) -> None:
    file = tmp_path / "chain.ogg"
    file.write_bytes(ogg(subtype, 0) + ogg(subtype, 1))
    whole, _ = read_audio(file)
    assert len(whole) == 8 * RATE
    for start, stop in ((0, 9), (30_000, 90_000), (63_999, 64_001), (64_000, 70_000), (100_000, 128_000)):
        np.testing.assert_allclose(read_audio(file, start, stop)[0], whole[start:stop], atol=0.01)
    with pytest.raises(InvalidAudioError, match="truncated: 128,000 of 128,000 samples"):
        read_audio(file, 0, 128_001)


@pytest.mark.parametrize("subtype", SUBTYPES)
def test_file_without_its_last_pages_or_a_page_in_its_middle_is_refused(tmp_path: Path, subtype: str) -> None:
    found = list(pages(ogg(subtype)))
    assert len(found) > 4
    for count in range(3, len(found)):
        assert_invalid(b"".join(found[:count]), tmp_path, "truncated: the last page of its stream is missing")
        assert_invalid(b"".join(found[:count])[:-1], tmp_path, "truncated in the page at byte")
        left_out = found[: count - 1] + found[count:]
        assert_invalid(b"".join(left_out), tmp_path, "pages are missing before byte")
    chained = b"".join(found[:-1]) + ogg(subtype, 1)
    assert_invalid(chained, tmp_path, "truncated: the last page")


@settings(deadline=None, max_examples=60)
@given(subtype=st.sampled_from(SUBTYPES), place=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_every_byte_that_was_changed_is_found(
    tmp_path_factory: pytest.TempPathFactory, subtype: str, place: float, change: int
) -> None:
    content = bytearray(ogg(subtype, seconds=0.5))
    content[int(place * len(content))] ^= change
    assert_invalid(bytes(content), tmp_path_factory.getbasetemp())


def test_two_streams_at_the_same_time_are_refused(tmp_path: Path) -> None:
    first, second = (list(pages(ogg("VORBIS", seed))) for seed in (0, 1))
    assert struct.unpack_from("<I", first[0], 14) != struct.unpack_from("<I", second[0], 14)
    both = [first[0], second[0], *first[1:], *second[1:]]
    assert_invalid(b"".join(both), tmp_path, "2 audio streams at the same time")


def test_streams_of_different_rates_or_channels_are_refused(tmp_path: Path) -> None:
    assert_invalid(ogg("VORBIS") + ogg("VORBIS", rate=8000), tmp_path, "streams differ: 16,000 .* 8,000")
    stereo = encode("OGG", noise(channels=2), subtype="VORBIS")
    assert_invalid(ogg("VORBIS") + stereo, tmp_path, "streams differ: 16,000 .* 1 channels, then 16,000 and 2")


def test_what_is_neither_page_nor_tag_is_refused_with_its_place(tmp_path: Path) -> None:
    content = ogg("VORBIS")
    assert_invalid(content + b"junk", tmp_path, f"byte {len(content):,} is no page of Ogg")
