"""MP3 files are read to the end of their last stream, whether or not they say how long they are."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.speech.audio_file import read_audio
from tests.datamodules.speech.formats.encoded import ID3V1, ID3V2, RATE, assert_invalid, decode, encode, noise

DELAY = 1105  # samples that encoder and decoder put before the sound
TAG = 156  # bytes, at least, of the frame that says how long a file is


def mp3(sound: np.ndarray, rate: int = RATE, mode: str = "VARIABLE") -> bytes:
    return encode("MP3", sound, rate, bitrate_mode=mode, compression_level=0.5)


def without_tag(content: bytes) -> bytes:
    """The frames of sound alone, so that nothing says how many there are."""
    return content[content.index(content[:2], TAG) :]


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
def test_file_is_as_long_with_the_frame_that_says_so_as_without(rate: int, channels: int, mode: str) -> None:
    sound = noise(0, 2, rate, channels)
    tagged = mp3(sound, rate, mode)
    whole = decode(tagged)
    assert whole.shape == sound.shape
    bare = decode(without_tag(tagged))
    assert len(bare) % 576 == 0
    assert len(sound) + DELAY <= len(bare) <= len(sound) + DELAY + 3 * 1152
    count = len(sound) - 2000  # of the last frames a decoder that knows their number leaves something out
    np.testing.assert_allclose(bare[DELAY : DELAY + count], whole[:count], atol=1e-4)


def test_length_is_right_where_libsndfile_guesses_too_little_or_too_much() -> None:
    falling = noise(0, 8, 44100, 2)
    guesses = []
    for sound in (falling, falling[::-1]):
        bare = without_tag(mp3(sound, 44100))
        guesses.append(soundfile.info(io.BytesIO(bare)).duration)
        assert len(decode(bare)) / 44100 == pytest.approx(8.05, abs=0.05)
    assert guesses[0] < 6
    assert guesses[1] > 10


SOUNDS = [noise(1, 0.8), noise(2, 1.1), noise(3, 0.5)]


@pytest.mark.parametrize("between", [b"", ID3V1, ID3V2, ID3V1 + ID3V2, bytes(100)], ids=lambda tag: f"{tag[:3]!r}")
@pytest.mark.parametrize("bare", [(), (0,), (1,), (0, 1, 2)])
def test_files_one_after_the_other_are_read_one_after_the_other(between: bytes, bare: tuple[int, ...]) -> None:
    files = [mp3(sound) for sound in SOUNDS]
    files = [without_tag(file) if k in bare else file for k, file in enumerate(files)]
    found = decode(between.join(files))
    alone = [decode(file) for file in files]
    assert len(found) == sum(map(len, alone))
    if not bare or between:  # else frames of one file may lean on those of the file before
        np.testing.assert_array_equal(found, np.concatenate(alone))


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_part_is_that_part_of_the_whole_across_streams(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    file = tmp_path_factory.getbasetemp() / "parts.mp3"
    file.write_bytes(mp3(SOUNDS[0]) + ID3V1 + without_tag(mp3(SOUNDS[1])) + mp3(SOUNDS[2]))
    whole, _ = read_audio(file)
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    part, rate = read_audio(file, start, stop)
    assert rate == RATE
    np.testing.assert_allclose(part, whole[start:stop], atol=1e-4)


@pytest.mark.parametrize("before", [b"", ID3V2, ID3V2 * 2])
@pytest.mark.parametrize(
    "behind", [b"", ID3V1, bytes(1000), b"APETAGEX" + b"\xd0\7\0\0" + b"\5\0\0\0" + bytes(16) + b"about"]
)
def test_tags_and_zeros_around_the_frames_do_not_matter(before: bytes, behind: bytes) -> None:
    for content in (mp3(SOUNDS[0]), without_tag(mp3(SOUNDS[0]))):
        np.testing.assert_array_equal(decode(before + content + behind), decode(content))


@pytest.mark.parametrize("behind", [b"junk", b"\xff\xfb junk", b"RIFF" + bytes(100), bytes(50) + b"\1"])
def test_what_is_neither_frame_nor_tag_is_refused_with_its_place(tmp_path: Path, behind: bytes) -> None:
    for content in (mp3(SOUNDS[0]), without_tag(mp3(SOUNDS[0]))):
        assert_invalid(content + behind, tmp_path, "damaged: what begins at byte|truncated in its last frame")
        assert_invalid(content[:2000] + behind + content[2000:], tmp_path)


def test_file_that_is_cut_is_refused_wherever_its_frames_show_it(tmp_path: Path) -> None:
    tagged = mp3(SOUNDS[0])
    bare = without_tag(tagged)
    for length in range(500, len(tagged) - 1, 97):
        assert_invalid(tagged[:length], tmp_path, "truncated")
    cuts = [length for length in range(100, len(bare) - 1) if bare[length : length + 2] != bare[:2]]
    for length in cuts[::97]:
        assert_invalid(bare[:length], tmp_path, "truncated|damaged")


def test_streams_of_different_rates_are_refused(tmp_path: Path) -> None:
    other = mp3(noise(0, 1, 24000), 24000)
    assert_invalid(mp3(SOUNDS[0]) + other, tmp_path, "streams differ: 16,000 samples a second .* 24,000")
    assert_invalid(without_tag(mp3(SOUNDS[0])) + without_tag(other), tmp_path, "streams differ")


@pytest.mark.parametrize(("layer", "bits", "size", "samples"), [(2, 0x84, 384, 1152), (1, 0x84, 256, 384)])
def test_layers_one_and_two_are_read_to_their_end(layer: int, bits: int, size: int, samples: int) -> None:
    silence = bytes([0xFF, 0xF1 | (4 - layer) << 1 | 8, bits, 0xC0]).ljust(size, b"\0")
    assert len(decode(silence * 50)) == 50 * samples
