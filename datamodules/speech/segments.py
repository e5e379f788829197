"""Audio files of any kind, divided into segments that are short enough to be recognized."""

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch.utils.data import Dataset
from torchaudio.functional import resample
from tqdm import tqdm

from datamodules.speech.audio_file import SUFFIXES, InvalidAudioError, read_audio
from sextant.errors import InputError
from sextant.padding import pad_right

QUIET = 0.1  # seconds over which loudness is compared where a file is divided


@dataclass(frozen=True)
class Segment:
    """A part of an audio file.

    Args:
        file: the file.
        start: its first sample.
        stop: the one after its last.
        rate: samples per second of the file.
    """

    file: Path
    start: int
    stop: int
    rate: int


def list_audio(place: Path) -> list[Path]:
    """A file, or the audio files under a folder, by their paths.

    Raises:
        InputError: there is nothing there, or no audio file.
    """
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise InputError(f"{place}: there is no such file or folder (data.prediction.audio).")
    found = sorted(Path(parent, name) for parent, _, names in os.walk(place, followlinks=True) for name in names)
    files = [file for file in found if file.suffix.lower() in SUFFIXES]
    if not files:
        raise InputError(
            f"{place}: no audio file was found under it ({', '.join(sorted(SUFFIXES))}; data.prediction.audio)."
        )
    return files


def segments(files: Sequence[Path], longest: float, shortest: float) -> list[Segment]:
    """The segments of files: one that is too long is divided at the quietest place of the last third.

    Args:
        files: the audio files.
        longest: seconds of the longest segment.
        shortest: seconds that a file must have.

    Raises:
        InputError: a file is damaged or too short; the message names all such files.
    """
    with ThreadPoolExecutor() as pool:
        divide = partial(_divide, longest, shortest)
        found = list(tqdm(pool.map(divide, files), total=len(files), desc="Reading audio", unit="file", delay=1))
    invalid = [f"\n  {file}: {reason}" for file, reason in zip(files, found, strict=True) if isinstance(reason, str)]
    if invalid:
        raise InputError(
            f"{len(invalid)} of {len(files)} files cannot be used:{''.join(invalid)}\nRemove or replace them."
        )
    return [segment for part in found if not isinstance(part, str) for segment in part]


@dataclass(frozen=True)
class Prediction:
    """The audio that ``predict`` recognizes.

    Args:
        audio: an audio file, or a folder of such: any sample rate and number of channels.
        longest_segment: seconds; longer files are divided where they are quiet.
    """

    audio: str | None = None
    longest_segment: float = 30.0

    def __post_init__(self) -> None:
        """Check the range.

        Raises:
            InputError: segments are too short or too long.
        """
        if not 1 <= self.longest_segment <= 3600:
            raise InputError(
                f"data.prediction.longest_segment is {self.longest_segment}; it must be between 1 and 3600."
            )

    def segments(self, shortest: float) -> list[Segment]:
        """The segments of the audio.

        Args:
            shortest: seconds that a file must have.

        Raises:
            InputError: no audio is given, or it cannot be used.
        """
        if self.audio is None:
            raise InputError(
                "There is nothing to recognize: give an audio file or a folder with --data.prediction.audio=..."
            )
        return segments(list_audio(Path(self.audio)), self.longest_segment, shortest)


def _divide(longest: float, shortest: float, file: Path) -> list[Segment] | str:
    """The segments of a file, or why it cannot be used."""
    try:
        header = soundfile.info(file)
        rate, frames = header.samplerate, header.frames
        if frames < shortest * rate:
            return f"it has {frames:,} samples, which is no speech"
        window = round(longest * rate)
        start = 0
        parts: list[Segment] = []
        while True:
            if frames - start <= window:
                read_audio(file, start, frames)
                return [*parts, Segment(file, start, frames, rate)]
            samples, _ = read_audio(file, start, start + window)
            block = round(QUIET * rate)
            energy = np.square(samples.mean(1)[: window // block * block]).reshape(-1, block).mean(1)
            first = math.ceil(len(energy) * 2 / 3)
            # Not so close to the end of the file that less than a frame is left.
            last = max(first + 1, min(len(energy), (frames - start - math.ceil(shortest * rate)) // block))
            stop = start + round((first + int(energy[first:last].argmin()) + 0.5) * block)
            parts.append(Segment(file, start, stop, rate))
            start = stop
    except (InvalidAudioError, soundfile.SoundFileError, OSError) as error:
        return str(error).replace(str(file), "it")


class Segments(Dataset):
    """Batches of segments of audio files, with one channel and one sample rate.

    A batch has ``audio``, float (B, S) padded on the right and its lengths int64 (B,); ``start`` and ``end`` of the
    segments in their files, float64 (B,), in seconds; and ``index`` int64 (B,).

    Args:
        parts: the segments.
        sample_rate: to which they are resampled.
    """

    def __init__(self, parts: list[Segment], sample_rate: int) -> None:
        self.parts = parts
        self.sample_rate = sample_rate

    def __len__(self) -> int:
        return len(self.parts)

    def path(self, index: int) -> Path:
        """The file of a segment."""
        return self.parts[index].file

    def seconds(self) -> np.ndarray:
        """The lengths of the segments, float64 (N,)."""
        return np.array([(part.stop - part.start) / part.rate for part in self.parts])

    def __getitem__(self, indices: list[int]) -> dict[str, Any]:
        return pad_right([self._read(index) for index in indices])

    def _read(self, index: int) -> dict[str, Any]:
        part = self.parts[index]
        try:
            samples, _ = read_audio(part.file, part.start, part.stop)
        except InvalidAudioError as error:
            raise InputError(f"{part.file}: it has changed since it was listed: {error}.") from error
        audio = resample(torch.from_numpy(samples).mean(1), part.rate, self.sample_rate)
        place = {"start": part.start / part.rate, "end": part.stop / part.rate}
        return {"audio": audio, **{k: torch.tensor(v, dtype=torch.float64) for k, v in place.items()}, "index": index}
