"""Audio files of any kind become the samples that they hold, or are said to be damaged; never anything between."""

import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.speech.audio_file import InvalidAudioError, read_audio
from datamodules.synthetic.librispeech import record
from tests.mutations import fuzz

STREAM_INFO = range(18, 26)  # bytes of a FLAC file with its rate and its length, which have no check sum


def speech(seed: int = 0) -> np.ndarray:
    return record(["AB"], np.random.default_rng(seed))


@pytest.fixture(scope="module")
def flac(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole recording, which tests only read."""
    file = tmp_path_factory.mktemp("audio") / "whole.flac"
    soundfile.write(file, speech(), 16000, subtype="PCM_16")
    return file


@pytest.fixture
def damaged(flac: Path, tmp_path: Path) -> Callable[[bytes], Path]:
    """Write the bytes of a damaged recording."""

    def write(content: bytes) -> Path:
        file = tmp_path / "damaged.flac"
        file.write_bytes(content)
        return file

    return write


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("name", "subtype", "error"),
    [
        ("a.flac", "PCM_16", 2**-15),
        ("a.flac", "PCM_24", 2**-23),
        ("a.wav", "PCM_U8", 2**-6),
        ("a.wav", "PCM_16", 2**-15),
        ("a.wav", "PCM_24", 2**-23),
        ("a.wav", "PCM_32", 1e-7),
        ("a.wav", "FLOAT", 0),
        ("a.wav", "DOUBLE", 0),
        ("a.wav", "ULAW", 0.03),
        ("a.aiff", "PCM_16", 2**-15),
    ],
)
def test_file_gives_the_samples_that_were_written(
    tmp_path: Path, name: str, subtype: str, error: float, channels: int, rate: int
) -> None:
    written = np.stack([speech(seed)[:5000] for seed in range(channels)], 1)
    soundfile.write(tmp_path / name, written, rate, subtype=subtype)
    samples, found = read_audio(tmp_path / name)
    assert found == rate
    assert samples.dtype == np.float32
    assert samples.shape == (5000, channels)
    np.testing.assert_allclose(samples, written, rtol=0, atol=error)


@pytest.mark.parametrize(("name", "subtype"), [("a.ogg", "VORBIS"), ("a.ogg", "OPUS"), ("a.mp3", "MPEG_LAYER_III")])
def test_file_that_was_compressed_with_loss_has_its_length_and_sounds_alike(
    tmp_path: Path, name: str, subtype: str
) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(20000) / 16000).astype(np.float32)
    soundfile.write(tmp_path / name, tone, 16000, subtype=subtype)
    samples, rate = read_audio(tmp_path / name)
    assert rate == 16000
    assert samples.shape == (20000, 1)
    assert np.corrcoef(samples[:, 0], tone)[0, 1] > 0.99


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_part_of_a_file_is_the_same_as_that_part_of_the_whole(flac: Path, data: st.DataObject) -> None:
    whole, _ = read_audio(flac)
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    part, rate = read_audio(flac, start, stop)
    assert rate == 16000
    np.testing.assert_array_equal(part, whole[start:stop])


def test_part_that_reaches_beyond_the_end_is_an_error_with_the_numbers(flac: Path) -> None:
    count = soundfile.info(flac).frames
    with pytest.raises(InvalidAudioError, match=f"truncated: {count:,} of {count:,} samples"):
        read_audio(flac, 10, count + 1)


def test_flac_that_is_truncated_is_invalid_wherever_it_is_cut(flac: Path, damaged: Callable[[bytes], Path]) -> None:
    content = flac.read_bytes()
    points = {*range(120), *range(120, len(content), 53), *range(len(content) - 40, len(content))}
    for length in sorted(points):
        with pytest.raises(InvalidAudioError):
            read_audio(damaged(content[:length]))


@fuzz(150)
@given(st.data())
def test_flac_with_a_damaged_byte_is_invalid_or_gives_the_very_same_samples(
    flac: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(flac.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1).filter(lambda place: place not in STREAM_INFO))
    content[position] ^= data.draw(st.integers(1, 255))
    file = tmp_path_factory.getbasetemp() / "damaged.flac"
    file.write_bytes(content)
    try:
        samples, rate = read_audio(file)
    except InvalidAudioError:
        return
    whole, whole_rate = read_audio(flac)
    assert rate == whole_rate
    np.testing.assert_array_equal(samples, whole)


@pytest.mark.parametrize("fraction", [0.3, 0.5, 0.9])
def test_flac_with_zeros_or_noise_in_its_middle_is_invalid(
    flac: Path, damaged: Callable[[bytes], Path], fraction: float
) -> None:
    content = flac.read_bytes()
    place = int(fraction * len(content))
    for patch in (bytes(200), np.random.default_rng(0).bytes(200)):
        with pytest.raises(InvalidAudioError):
            read_audio(damaged(content[:place] + patch + content[place + 200 :]))


def with_length(content: bytes, samples: int) -> bytes:
    """A FLAC file whose header says another number of samples, of which 0 stands for unknown."""
    changed = bytearray(content)
    changed[21] = changed[21] & 0xF0 | samples >> 32
    changed[22:26] = struct.pack(">I", samples & 0xFFFFFFFF)
    return bytes(changed)


@pytest.mark.parametrize("length", [0, 2**36 - 1], ids=["unknown", "much too long"])
def test_flac_with_an_unknown_or_a_wrong_length_is_read_whole_or_invalid(
    flac: Path, damaged: Callable[[bytes], Path], length: int
) -> None:
    file = damaged(with_length(flac.read_bytes(), length))
    try:
        samples, _ = read_audio(file)
    except InvalidAudioError:
        return
    np.testing.assert_array_equal(samples, read_audio(flac)[0])


def test_flac_whose_header_promises_a_little_more_is_invalid(flac: Path, damaged: Callable[[bytes], Path]) -> None:
    count = soundfile.info(flac).frames
    with pytest.raises(InvalidAudioError):
        read_audio(damaged(with_length(flac.read_bytes(), count + 1000)))


@pytest.mark.parametrize("suffix", ["wav", "aiff"])
@pytest.mark.parametrize("missing", [1, 2, 1000, 10_000])
def test_uncompressed_file_that_is_shorter_than_its_header_says_is_invalid(
    tmp_path: Path, suffix: str, missing: int
) -> None:
    file = tmp_path / f"cut.{suffix}"
    soundfile.write(file, speech(), 16000)
    file.write_bytes(file.read_bytes()[:-missing])
    with pytest.raises(InvalidAudioError, match="truncated"):
        read_audio(file)


@pytest.mark.parametrize("ending", [b"", b"\0", b"\0LIST\4\0\0\0INFO", b"\0" * 38])
def test_what_comes_after_the_samples_of_a_wav_does_not_matter(tmp_path: Path, ending: bytes) -> None:
    file = tmp_path / "odd.wav"
    soundfile.write(file, speech()[:1001], 16000, subtype="PCM_U8")
    whole, _ = read_audio(file)
    assert len(whole) == 1001
    # An odd number of bytes is to be followed by a zero, which some programs leave out.
    file.write_bytes(file.read_bytes()[: 44 + 1001] + ending)
    np.testing.assert_array_equal(read_audio(file)[0], whole)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF])
def test_wav_that_was_written_into_a_pipe_is_read_to_its_end(tmp_path: Path, size: int) -> None:
    file = tmp_path / "streamed.wav"
    soundfile.write(file, speech(), 16000)
    whole, _ = read_audio(file)
    content = bytearray(file.read_bytes())
    # The length is not known when the header is written: a value that stands for unknown takes its place.
    content[4:8] = content[40:44] = struct.pack("<I", size)
    file.write_bytes(content)
    np.testing.assert_array_equal(read_audio(file)[0], whole)


@pytest.mark.parametrize("fraction", [0.05, 0.3, 0.6, 0.95])
def test_mp3_that_is_truncated_is_invalid(tmp_path: Path, fraction: float) -> None:
    file = tmp_path / "cut.mp3"
    soundfile.write(file, speech(), 16000)
    content = file.read_bytes()
    file.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(InvalidAudioError):
        read_audio(file)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e12])
def test_samples_that_are_not_finite_are_invalid(tmp_path: Path, value: float) -> None:
    samples = speech()
    samples[1000] = value
    soundfile.write(tmp_path / "float.wav", samples, 16000, subtype="FLOAT")
    with pytest.raises(InvalidAudioError):
        read_audio(tmp_path / "float.wav")


def write_nothing(file: Path) -> None:
    file.write_bytes(b"")


def write_text(file: Path) -> None:
    file.write_text("1272-128104-0000 MISTER QUILTER\n" * 20)


def link_to_nowhere(file: Path) -> None:
    file.symlink_to("moved-away.flac")


def leave_out(file: Path) -> None:
    pass


@pytest.mark.parametrize("put", [write_nothing, write_text, link_to_nowhere, leave_out, partial(Path.mkdir)])
@pytest.mark.parametrize("suffix", ["flac", "wav", "mp3", "ogg"])
def test_what_is_no_audio_file_is_invalid_and_the_reason_does_not_repeat_its_path(
    tmp_path: Path, put: Callable[[Path], object], suffix: str
) -> None:
    file = tmp_path / f"recording.{suffix}"
    put(file)
    with pytest.raises(InvalidAudioError) as error:
        read_audio(file)
    assert str(error.value)
    assert str(tmp_path) not in str(error.value)


def test_file_whose_name_is_not_utf8_is_read_like_any_other(flac: Path, tmp_path: Path) -> None:
    odd = tmp_path / b"caf\xe9.flac".decode("utf-8", "surrogateescape")
    odd.write_bytes(flac.read_bytes())
    np.testing.assert_array_equal(read_audio(odd)[0], read_audio(flac)[0])
