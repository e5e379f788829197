"""FLAC files are read to their last frame, and a header that says something else is refused."""

import io
from pathlib import Path

import numpy as np
import pytest

from datamodules.speech.audio_file import describe
from tests.datamodules.speech.formats.encoded import ID3V1, ID3V2, RATE, assert_invalid, decode, encode, noise

FLAC = encode("FLAC")
APE_FOOTER = b"APETAGEX" + bytes([0xD0, 7, 0, 0, 37, 0, 0, 0, 0, 0, 0, 0]) + bytes(12)  # counts itself and "about"


def with_length(content: bytes, samples: int) -> bytes:
    changed = bytearray(content)
    changed[21:26] = (int.from_bytes(changed[21:26], "big") >> 36 << 36 | samples).to_bytes(5, "big")
    return bytes(changed)


def test_file_that_does_not_say_how_long_it_is_is_read_whole(tmp_path: Path) -> None:
    streamed = with_length(FLAC, 0)
    assert describe(io.BytesIO(streamed)).samples is None
    np.testing.assert_array_equal(decode(streamed), decode(FLAC))
    np.testing.assert_array_equal(decode(streamed, start=5000, stop=9000), decode(FLAC)[5000:9000])
    assert_invalid(streamed[:-50], tmp_path)


@pytest.mark.parametrize("samples", [1, 4096, 8000, RATE - 1, RATE + 1, 2 * RATE, 2**36 - 1])
def test_length_in_the_header_that_is_not_that_of_the_frames_is_refused(tmp_path: Path, samples: int) -> None:
    assert_invalid(with_length(FLAC, samples), tmp_path, f"{RATE:,} samples, where its header says {samples:,}")


@pytest.mark.parametrize("behind", [FLAC, FLAC[42:], b"junk", bytes(100)], ids=["file", "frames", "junk", "zeros"])
def test_what_follows_the_frames_is_refused(tmp_path: Path, behind: bytes) -> None:
    assert_invalid(FLAC + behind, tmp_path)


@pytest.mark.parametrize("before", [b"", ID3V2], ids=["", "id3"])
@pytest.mark.parametrize("behind", [b"", ID3V1, b"about" + APE_FOOTER, b"about" + APE_FOOTER + ID3V1])
def test_tags_around_the_frames_do_not_matter(before: bytes, behind: bytes) -> None:
    np.testing.assert_array_equal(decode(before + FLAC + behind), decode(FLAC))


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000])
def test_rate_in_the_header_that_is_not_that_of_the_frames_is_refused(tmp_path: Path, rate: int) -> None:
    content = bytearray(encode("FLAC", noise(seconds=0.5, rate=rate), rate))
    assert len(decode(bytes(content))) == round(rate / 2)
    content[18] ^= 0x02
    assert_invalid(bytes(content), tmp_path, f"samples a second, and its first frame {rate:,}")
