"""What a small subset of recordings holds, and ways to change it."""

from pathlib import Path

import numpy as np
import soundfile

from datamodules.speech.corpus import Utterance, read_subset
from tests.filesystem import listing

RATE = 16000
COUNT = 6  # utterances of dev-small


def recordings(subset: Path) -> list[Path]:
    return sorted(subset.glob("*/*/*.flac"))


def table(subset: Path) -> Path:
    """The first file of transcripts."""
    return min(subset.glob("*/*/*.trans.txt"))


def read(subset: Path, cache: Path, *, skip: bool = False, rate: int = RATE, shortest: int = 512) -> list[Utterance]:
    return read_subset(subset, cache, rate, shortest, "skip" if skip else "error")


def expected(subset: Path) -> list[Utterance]:
    """What a subset holds, read as simply as can be."""
    said = dict(line.split(" ", 1) for file in subset.glob("*/*/*.trans.txt") for line in file.read_text().splitlines())
    return [
        Utterance(
            id=file.stem,
            path=str(file.relative_to(subset)),
            samples=soundfile.info(file).frames,
            transcript=said[file.stem],
            speaker=file.parent.parent.name,
        )
        for file in recordings(subset)
    ]


def stored(cache: Path) -> list[str]:
    """The manifests that are kept."""
    return [name for name in listing(cache) if "/" not in name and name.startswith("speech-")]


def empty(file: Path) -> None:
    file.write_bytes(b"")


def make_stereo(file: Path) -> None:
    soundfile.write(file, np.zeros((9000, 2)), RATE)


def replace_a_recording(subset: Path) -> None:
    soundfile.write(recordings(subset)[2], np.zeros(9000), RATE)
