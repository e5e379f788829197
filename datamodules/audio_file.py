"""Audio files as arrays."""

from pathlib import Path

import numpy as np
import soundfile

SUFFIXES = {".flac", ".wav", ".ogg", ".opus", ".mp3", ".aiff", ".aif"}


class UnreadableAudioError(Exception):
    """Says why a file is no whole audio file."""


def read_audio(file: Path, start: int = 0, stop: int | None = None) -> tuple[np.ndarray, int]:
    """Read samples of an audio file.

    Args:
        file: in any format that libsndfile reads.
        start: the first sample to read.
        stop: the one after the last to read; without it, to the end.

    Returns:
        float32 (samples, channels) in [-1, 1], and samples per second.

    Raises:
        UnreadableAudioError: it is no audio file, or it ends before its header says, or before ``stop``.
    """
    try:
        with soundfile.SoundFile(file) as opened:
            expected = (opened.frames if stop is None else stop) - start
            opened.seek(start)
            samples = opened.read(expected, dtype="float32", always_2d=True)
            if len(samples) < expected:
                raise UnreadableAudioError(f"it is cut off: {start + len(samples):,} of {opened.frames:,} samples")
            return samples, opened.samplerate
    except (soundfile.SoundFileError, OSError) as error:
        raise UnreadableAudioError(str(error).replace(str(file), "it")) from error
