"""Sounds as the bytes of audio files, and ways to change these."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from datamodules.speech.audio_file import InvalidAudioError, read_audio

RATE = 16000
ID3V1 = b"TAG" + b"a title".ljust(125, b"\0")
ID3V2 = b"ID3\4\0\0\0\0\2\1" + bytes(257)


def noise(seed: int = 0, seconds: float = 1.0, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """Noise that is loud and bright at first, and then ever softer and duller."""
    draw = np.random.default_rng(seed)
    count = round(seconds * rate)
    return draw.uniform(-0.5, 0.5, (count, channels)) * np.linspace(1, 0, count)[:, None] ** 4


def encode(kind: str, sound: np.ndarray | None = None, rate: int = RATE, **options: Any) -> bytes:
    """A file of a format of soundfile's."""
    file = io.BytesIO()
    soundfile.write(file, noise(rate=rate) if sound is None else sound, rate, format=kind, **options)
    return file.getvalue()


def decode(content: bytes, **part: int) -> np.ndarray:
    return read_audio(io.BytesIO(content), **part)[0]


def assert_invalid(content: bytes, folder: Path, reason: str | None = None) -> None:
    """Neither as a file nor as its content is something read."""
    file = folder / "invalid"
    file.write_bytes(content)
    for source in (file, io.BytesIO(content)):
        with pytest.raises(InvalidAudioError, match=reason):
            read_audio(source)
