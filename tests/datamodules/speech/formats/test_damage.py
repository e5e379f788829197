"""Damaged files of any format are refused or read, never a traceback or a wait without end."""

import io

import numpy as np
import pytest

from datamodules.speech.audio_file import InvalidAudioError, read_audio
from tests.datamodules.speech.formats.encoded import encode, noise
from tests.mutations import tries

KINDS = [
    *(("WAV", subtype) for subtype in ("PCM_16", "FLOAT", "IMA_ADPCM", "MS_ADPCM", "GSM610")),
    *(("WAVEX", "PCM_24"), ("RF64", "PCM_16"), ("W64", "PCM_16"), ("AIFF", "PCM_16"), ("AU", "ULAW")),
    *(("CAF", "PCM_16"), ("CAF", "ALAC_16"), ("FLAC", "PCM_16")),
    *(("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")),
]
CHECKED = {"FLAC", "OGG"}  # formats with check sums


def damage(content: bytes, draw: np.random.Generator) -> bytes:
    """Change, remove or insert bytes, more often near the beginning, where headers are."""
    changed = bytearray(content)
    for _ in range(draw.integers(1, 4)):
        place = int(draw.integers(0, len(changed) if draw.random() < 0.3 else 200))
        match draw.integers(0, 5):
            case 0:
                changed[place] ^= 1 << int(draw.integers(0, 8))
            case 1:
                changed[place] = int(draw.integers(0, 256))
            case 2:
                del changed[place : place + int(draw.integers(1, 20))]
            case 3:
                changed[place:place] = draw.bytes(int(draw.integers(1, 20)))
            case _:
                changed[place : place + 4] = (0x7FFFFFFF, 0xFFFFFFFF, 0)[draw.integers(0, 3)].to_bytes(4, "little")
    return bytes(changed)


@pytest.mark.parametrize(("kind", "subtype"), KINDS)
@pytest.mark.fuzz
def test_damaged_file_is_invalid_or_is_read(kind: str, subtype: str) -> None:
    content = encode(kind, noise(seconds=0.4), subtype=subtype)
    whole, _ = read_audio(io.BytesIO(content))
    draw = np.random.default_rng(0)
    refused = 0
    for _ in tries(150):
        try:
            samples, rate = read_audio(io.BytesIO(damage(content, draw)))
        except InvalidAudioError:
            refused += 1
            continue
        assert samples.dtype == np.float32
        assert np.isfinite(samples).all()
        assert 1000 <= rate <= 768_000
        if kind in CHECKED:
            np.testing.assert_array_equal(samples, whole)
    assert refused > 30


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "AU", "CAF", "W64", "FLAC", "OGG", "MP3"])
def test_beginning_of_a_file_is_invalid(kind: str) -> None:
    content = encode(kind, noise(seconds=0.4))
    for length in range(120):
        with pytest.raises(InvalidAudioError):
            read_audio(io.BytesIO(content[:length]))
