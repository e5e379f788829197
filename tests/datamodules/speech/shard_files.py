"""The small training subset in three shards, and what is known of it."""

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from datamodules.speech.shards import SpeechShards

RATE = 16000
COUNT = 14  # utterances of train-small
SHARDS = 3
Members = dict[str, bytes]


def said(root: Path) -> dict[str, str]:
    """Transcripts of the training utterances, read as simply as can be."""
    tables = sorted((root / "train-small").glob("*/*/*.trans.txt"))
    return dict(line.split(" ", 1) for table in tables for line in table.read_text().splitlines())


def recordings(root: Path) -> dict[str, Path]:
    return {file.stem: file for file in (root / "train-small").glob("*/*/*.flac")}


def command(root: Path, output: Path, *more: str) -> list[str]:
    return [f"--root={root}", "--subset=train-small", f"--output={output}", f"--shards={SHARDS}", *more]


def pattern(shards: Path) -> str:
    return f"{shards}/train-small-{{000000..00000{SHARDS - 1}}}.tar"


def read(place: Path | str, shortest: int = 1024, epoch: int = 0, seed: int = 0) -> list[Any]:
    return list(SpeechShards(str(place), RATE, shortest).stream(seed, epoch))


def recording(seconds: float = 0.2, rate: int = RATE, channels: int = 1, kind: str = "FLAC") -> bytes:
    file = io.BytesIO()
    audio = np.random.default_rng(0).normal(0, 0.1, (round(seconds * rate), channels))
    soundfile.write(file, audio, rate, format=kind, subtype=None if kind == "OGG" else "PCM_16")
    return file.getvalue()


FLAC = recording()
#: An encoder that writes to a pipe leaves the number of samples, 36 bits of the first block, at 0.
STREAMED_FLAC = FLAC[:21] + bytes([FLAC[21] & 0xF0]) + bytes(4) + FLAC[26:]
GOOD = {"a.flac": FLAC, "a.json": b'{"transcript": "YES"}'}


def pack(shard: Path, members: list[tuple[str, bytes]], tar_format: int = tarfile.USTAR_FORMAT) -> Path:
    with tarfile.open(shard, "w", format=tar_format) as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return shard


def borders(shard: Path) -> list[tuple[int, int, int]]:
    """Where the header, the content and the end of each file in a shard are."""
    with tarfile.open(shard) as tar:
        return [(member.offset, member.offset_data, member.offset_data + member.size) for member in tar]
