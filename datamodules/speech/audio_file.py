"""Audio files as arrays: every sample that is in a file, or the reason why it cannot be read."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np
import soundfile
from typing_extensions import override

from datamodules.speech.formats.recognition import find_streams
from datamodules.speech.formats.section import open_section
from datamodules.speech.formats.stream import InvalidAudioError, Stream
from datamodules.speech.formats.suffixes import OTHER_SUFFIXES

__all__ = ["Audio", "InvalidAudioError", "audio_blocks", "describe", "read_audio"]

BLOCK = 1 << 18  # samples of all channels that are decoded at once
LEAD = 0.2  # seconds that decoders of compressed sound need before what they give is right
SLOWEST, FASTEST = 1000, 768_000  # samples per second that are no mistake
LOUDEST = 1e9  # some programs write samples of 16 bits as floating-point numbers
#: Bytes of a sample.
PLAIN = {"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8, "ULAW": 1, "ALAW": 1}
WITH_LEAD = {"VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"}


@dataclass(frozen=True)
class Audio:
    """What is known of an audio file before it is decoded.

    Args:
        rate: samples per second.
        channels: their number.
        format: as libsndfile names it.
        size: bytes of the file.
        streams: which hold its samples, one after the other.
        lengths: samples of the streams, None where only decoding shows it.
    """

    rate: int
    channels: int
    format: str
    size: int
    streams: tuple[Stream, ...]
    lengths: tuple[int | None, ...]

    @property
    def samples(self) -> int | None:
        """Its length, None if only decoding shows it."""
        known = [length for length in self.lengths if length is not None]
        return sum(known) if len(known) == len(self.lengths) else None


class _Forward(soundfile.SoundFile):
    """A sound file that is read on.

    soundfile would seek after each read, and some decoders begin anew then; and it would not read on where it believes
    the end to be.
    """

    @override
    def seekable(self) -> bool:
        return False

    def skip_to(self, sample: int) -> None:
        """Read on from a sample of the file, which was just opened."""
        if super().seekable():
            self.seek(sample)
            return
        while sample > 0 and len(skipped := self.read(min(sample, max(1, BLOCK // self.channels)))):
            sample -= len(skipped)


def describe(source: Path | IO[bytes]) -> Audio:
    """Look for the streams of an audio file, without decoding them.

    Args:
        source: the file.

    Raises:
        InvalidAudioError: it is no audio file, it is truncated, or it holds something that would not be decoded.
    """
    with _reasons(), ExitStack() as stack:
        if isinstance(source, Path) and source.exists() and not source.is_file():
            raise InvalidAudioError("it is no file")  # a pipe would be waited for
        file = stack.enter_context(source.open("rb")) if isinstance(source, Path) else source
        streams = _streams(source, file)
        size = file.seek(0, os.SEEK_END)
        kinds, lengths = [], []
        for stream in streams:
            with _opened(source, size, stream) as opened:
                kinds.append((opened.samplerate, opened.channels, opened.format))
                lengths.append(_length(opened, stream))
    for kind in kinds:
        if kind != kinds[0]:
            raise InvalidAudioError(
                f"its streams differ: {kinds[0][0]:,} samples a second and {kinds[0][1]} channels, then {kind[0]:,} "
                f"and {kind[1]}. Take it apart"
            )
    if not SLOWEST <= kinds[0][0] <= FASTEST:
        raise InvalidAudioError(f"its header says {kinds[0][0]:,} samples a second")
    return Audio(*kinds[0], size, tuple(streams), tuple(lengths))


def _streams(source: Path | IO[bytes], file: IO[bytes]) -> list[Stream]:
    """The streams of a file, or the reason why there are none, which its suffix may give away."""
    try:
        return find_streams(file)
    except InvalidAudioError as error:
        suffix = source.suffix.lower() if isinstance(source, Path) else ""
        if suffix not in OTHER_SUFFIXES:
            raise
        raise InvalidAudioError(f"{suffix[1:]} is no format that is read here: convert it to FLAC or WAV") from error


def audio_blocks(source: Path | IO[bytes], audio: Audio) -> Iterator[np.ndarray]:
    """Decode a file from its beginning to its end.

    Args:
        source: the file.
        audio: its description.

    Yields:
        float32 (samples, channels) in [-1, 1].

    Raises:
        InvalidAudioError: it is damaged, or it has not as many samples as its headers say.
    """
    for stream, length in zip(audio.streams, audio.lengths, strict=True):
        with _reasons(), _opened(source, audio.size, stream) as opened:
            count = -stream.skip
            size = max(1, BLOCK // audio.channels)
            while len(block := _finite(opened.read(size, dtype="float32", always_2d=True))):
                yield block[max(0, -count) :]
                count += len(block)
        if length is not None and count != length:
            what = "truncated" if count < length else "damaged"
            raise InvalidAudioError(f"it is {what}: {count:,} samples, where its header says {length:,}")


def read_audio(source: Path | IO[bytes], start: int = 0, stop: int | None = None) -> tuple[np.ndarray, int]:
    """Read samples of an audio file.

    Args:
        source: the file, of a format that libsndfile reads.
        start: the first sample to read.
        stop: the one after the last to read; without it, to the end.

    Returns:
        float32 (samples, channels) in [-1, 1], and samples per second.

    Raises:
        InvalidAudioError: it is no audio file, is damaged or truncated, or ends before ``stop``.
    """
    if stop is None:
        audio = describe(source)
        blocks = [np.zeros((0, audio.channels), np.float32), *audio_blocks(source, audio)]
        return np.concatenate(blocks)[start:], audio.rate
    audio = _known(source) if isinstance(source, Path) else describe(source)
    parts = [np.zeros((0, audio.channels), np.float32)]
    begin = 0
    for stream, length in zip(audio.streams, audio.lengths, strict=True):
        end = sys.maxsize if length is None else begin + length
        if start < end and begin < stop:
            parts.append(_part(source, audio, stream, max(start, begin) - begin, min(stop, end) - begin))
        begin = end
    samples = np.concatenate(parts)
    if len(samples) < stop - start:
        found = start + len(samples)
        raise InvalidAudioError(f"it is truncated: {found:,} of {audio.samples or found:,} samples")
    return samples, audio.rate


def _part(source: Path | IO[bytes], audio: Audio, stream: Stream, start: int, stop: int) -> np.ndarray:
    """Samples of a stream."""
    with _reasons(), _opened(source, audio.size, stream) as opened:
        first = start + stream.skip
        lead = min(first, round(LEAD * audio.rate)) if opened.subtype in WITH_LEAD else 0
        opened.skip_to(first - lead)
        return _finite(opened.read(lead + stop - start, dtype="float32", always_2d=True)[lead:])


def _known(file: Path) -> Audio:
    """A file's description, found once until the file changes."""
    with _reasons():
        status = file.stat()
    return _described(file, (status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=64)
def _described(file: Path, version: tuple[int, int]) -> Audio:  # noqa: ARG001
    return describe(file)


@contextmanager
def _opened(source: Path | IO[bytes], size: int, stream: Stream) -> Iterator[_Forward]:
    """A stream, opened by libsndfile."""
    with ExitStack() as stack:
        if isinstance(source, Path) and stream.start == 0 and stream.stop == size and not stream.head:
            yield stack.enter_context(_Forward(os.fsencode(source)))
            return
        file = stack.enter_context(source.open("rb")) if isinstance(source, Path) else source
        section = stack.enter_context(open_section(file, stream))
        yield stack.enter_context(_Forward(section))


def _length(opened: _Forward, stream: Stream) -> int | None:
    """The samples of a stream as libsndfile and its frames or chunks say, None if neither does.

    Raises:
        InvalidAudioError: they contradict each other, or no part of it could be read.
    """
    if opened.subtype.startswith("MPEG") and opened.format != "MP3":
        raise InvalidAudioError(f"its encoding ({opened.format} {opened.subtype}) cannot be read here: convert it")
    found = opened.frames - stream.skip
    if opened.subtype in PLAIN and stream.payload is not None:
        written = stream.payload // (PLAIN[opened.subtype] * opened.channels)
        if written != found:
            raise InvalidAudioError(f"its header contradicts itself: {found:,} and {written:,} samples. Convert it")
    length = found if stream.most is None else min(found, stream.most)
    if length < stream.least:
        raise InvalidAudioError(f"its header says {found:,} samples, and its frames {stream.least:,}")
    return length if length < sys.maxsize else None


def _finite(samples: np.ndarray) -> np.ndarray:
    if not np.isfinite(samples).all():
        raise InvalidAudioError("it has samples that are not finite")
    if (loudest := np.abs(samples).max(initial=0)) > LOUDEST:
        raise InvalidAudioError(f"it has samples of {loudest:.0e}, which are no sound")
    return samples


@contextmanager
def _reasons() -> Iterator[None]:
    """Make the reason why a file is invalid of what is raised while it is read."""
    try:
        yield
    except (soundfile.SoundFileError, OSError) as error:
        raise InvalidAudioError(_reason(error)) from error
    except (MemoryError, ValueError) as error:
        raise InvalidAudioError(f"its header is wrong ({error})") from error


def _reason(error: Exception) -> str:
    """What libsndfile or the system has to say of an error, without the name of the file or file object."""
    said = getattr(error, "error_string", None) or getattr(error, "strerror", None)
    return str(said or f"it is damaged ({type(error).__name__} {getattr(error, 'code', '')})").removeprefix("Error : ")
