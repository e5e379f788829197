"""Audio files of any kind, divided into segments that are short enough to be recognized."""

import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset
from torchaudio.functional import resample
from tqdm import tqdm

from datamodules.sources.invalid_samples import report_invalid_samples
from datamodules.speech.audio_file import InvalidAudioError, audio_blocks, describe, read_audio
from datamodules.speech.folder import files_under
from datamodules.speech.formats.suffixes import SUFFIXES, is_audio
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
    """A file, or the audio files under a folder, by their paths, also those of formats that cannot be read.

    Raises:
        InputError: there is nothing there, or no audio file.
    """
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise InputError(f"{place}: there is no such file or folder (data.prediction.audio).")
    files = sorted(file for file in files_under(place) if is_audio(file))
    if not files:
        raise InputError(
            f"{place}: no audio file was found under it ({', '.join(sorted(SUFFIXES))}; data.prediction.audio)."
        )
    return files


def segments(
    files: Sequence[Path], longest: float, shortest: float, invalid_samples: Literal["error", "skip"] = "error"
) -> list[Segment]:
    """The segments of files: one that is too long is divided at the quietest place of the last third.

    Each file is decoded once from its beginning to its end, which shows how long it is.

    Args:
        files: the audio files.
        longest: seconds of the longest segment.
        shortest: seconds that a file must have.
        invalid_samples: what to do about files that are damaged, too short or of a format that cannot be read: stop
            (``error``), or leave them out with a warning (``skip``).

    Raises:
        InputError: a file cannot be used, or none can.
    """
    with ThreadPoolExecutor() as pool:
        divide = partial(_divide, longest, shortest)
        found = list(tqdm(pool.map(divide, files), total=len(files), desc="Reading audio", unit="file", delay=1))
    reasons = {file: reason for file, reason in zip(files, found, strict=True) if isinstance(reason, str)}
    report_invalid_samples(reasons, len(files), "files", invalid_samples)
    if len(reasons) == len(files):
        raise InputError("None of the files of data.prediction.audio can be used.")
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

    def segments(self, shortest: float, invalid_samples: Literal["error", "skip"] = "error") -> list[Segment]:
        """The segments of the audio.

        Args:
            shortest: seconds that a file must have.
            invalid_samples: as of :func:`segments`.

        Raises:
            InputError: no audio is given, or it cannot be used.
        """
        if self.audio is None:
            raise InputError(
                "There is nothing to recognize: give an audio file or a folder with --data.prediction.audio=..."
            )
        return segments(list_audio(Path(self.audio)), self.longest_segment, shortest, invalid_samples)


def _divide(longest: float, shortest: float, file: Path) -> list[Segment] | str:
    """The segments of a file, or why it cannot be used."""
    try:
        audio = describe(file)
        rate, block = audio.rate, round(QUIET * audio.rate)
        length, energy = _energy(audio_blocks(file, audio), block)
    except InvalidAudioError as error:
        return str(error)
    if length < shortest * rate:
        return f"it has {length:,} samples, which is no speech"
    window = round(longest * rate)
    edges = [0]
    while length - edges[-1] > window:
        # A block's middle is to lie in the last third, and not so close to the end that less than a frame is left.
        first = math.ceil((edges[-1] + window * 2 / 3) / block - 0.5)
        end = min(edges[-1] + window, length - math.ceil(shortest * rate))
        last = max(first, math.floor(end / block - 0.5))
        quietest = first + int(energy[first : last + 1].argmin())
        edges.append(quietest * block + block // 2)
    return [Segment(file, start, stop, rate) for start, stop in pairwise([*edges, length])]


def _energy(blocks: Iterable[np.ndarray], size: int) -> tuple[int, np.ndarray]:
    """The number of samples, and the energy in each ``size`` of them, the last ones of which may be fewer."""
    length = 0
    energy: list[np.ndarray] = []
    rest = np.zeros(0)
    for samples in blocks:
        length += len(samples)
        power = np.concatenate([rest, np.square(samples.mean(1))])
        whole = len(power) // size * size
        energy.append(power[:whole].reshape(-1, size).mean(1))
        rest = power[whole:]
    if len(rest):
        energy.append(rest.mean(keepdims=True))
    return length, np.concatenate(energy) if energy else rest


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
        # The filters of two rates without a common divisor would take gigabytes, so a ratio close to theirs is taken.
        ratio = Fraction(part.rate, self.sample_rate).limit_denominator(1000)
        audio = resample(torch.from_numpy(samples).mean(1), ratio.numerator, ratio.denominator)
        place = {"start": part.start / part.rate, "end": part.stop / part.rate}
        return {"audio": audio, **{k: torch.tensor(v, dtype=torch.float64) for k, v in place.items()}, "index": index}
