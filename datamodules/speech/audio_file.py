"""Audio files as arrays."""

import os
import re
from pathlib import Path

import numpy as np
import soundfile

TRUNCATED = re.compile(r"^ ?(?:data|SSND) : (\d+) \(should be (\d+)\)", re.MULTILINE)
STREAMED = 0x7FFFFFFF  # from here on, a length stands for one that was not known when the header was written
SUFFIXES = {".flac", ".wav", ".ogg", ".opus", ".mp3", ".aiff", ".aif"}


class InvalidAudioError(Exception):
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
        InvalidAudioError: it is no audio file, or it ends before its header says, or before ``stop``.
    """
    try:
        with soundfile.SoundFile(os.fsencode(file)) as opened:
            refuse_truncated(opened.extra_info)
            expected = (opened.frames if stop is None else stop) - start
            opened.seek(start)
            samples = opened.read(expected, dtype="float32", always_2d=True)
            if len(samples) < expected:
                raise InvalidAudioError(f"it is truncated: {start + len(samples):,} of {opened.frames:,} samples")
            rate = opened.samplerate
    except (soundfile.SoundFileError, OSError) as error:
        raise InvalidAudioError(reason(error).removeprefix("Error : ")) from error
    except (MemoryError, ValueError) as error:
        raise InvalidAudioError(f"its header is wrong ({error})") from error
    if not np.isfinite(samples).all():
        raise InvalidAudioError("it has samples that are not finite")
    return samples, rate


def refuse_truncated(log: str) -> None:
    """Refuse an uncompressed file that is truncated: libsndfile gives what there is, and says so in its log only.

    Args:
        log: what libsndfile noted while it opened the file, ``extra_info`` of soundfile.

    Raises:
        InvalidAudioError: there are fewer bytes than the header says.
    """
    for stated, found in TRUNCATED.findall(log):
        if int(found) < int(stated) < STREAMED:
            raise InvalidAudioError(f"it is truncated: {int(found):,} of {int(stated):,} bytes")


def reason(error: Exception) -> str:
    """What libsndfile has to say of an error, without the name of the file or file object."""
    return getattr(error, "error_string", None) or str(error)
