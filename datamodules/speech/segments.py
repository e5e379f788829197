"""Audio files of any kind, cut into pieces that are short enough to be recognized."""

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

QUIET = 0.1  # seconds over which loudness is compared where a file is cut


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
        raise InputError(f"{place}: there is no such file or folder (data.audio).")
    found = sorted(Path(parent, name) for parent, _, names in os.walk(place, followlinks=True) for name in names)
    files = [file for file in found if file.suffix.lower() in SUFFIXES]
    if not files:
        raise InputError(f"{place}: no audio file was found under it ({', '.join(sorted(SUFFIXES))}; data.audio).")
    return files


def segments(files: Sequence[Path], longest: float, shortest: float) -> list[Segment]:
    """Cut files into segments: at the quietest place of the last third, where a file is too long.

    Args:
        files: the audio files.
        longest: seconds of the longest segment.
        shortest: seconds that a file must have.

    Raises:
        InputError: a file is damaged or too short; the message names all such files.
    """
    with ThreadPoolExecutor() as pool:
        cut = partial(_cut, longest, shortest)
        found = list(tqdm(pool.map(cut, files), total=len(files), desc="Reading audio", unit="file", delay=1))
    faults = [f"\n  {file}: {why}" for file, why in zip(files, found, strict=True) if isinstance(why, str)]
    if faults:
        raise InputError(
            f"{len(faults)} of {len(files)} files cannot be used:{''.join(faults)}\nRemove or replace them."
        )
    return [segment for part in found if not isinstance(part, str) for segment in part]


def _cut(longest: float, shortest: float, file: Path) -> list[Segment] | str:
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
        #: Their lengths in seconds, float64 (N,).
        self.seconds = np.array([(part.stop - part.start) / part.rate for part in parts])

    def __len__(self) -> int:
        return len(self.parts)

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
