"""The DataModule on the small speech data."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datamodules.librispeech import LibriSpeech
from tests.datamodules.speech.shard_files import pattern
from tests.datamodules.speech_data import SMALL
from tests.datamodules.speech_data import librispeech as small_librispeech


@pytest.fixture(scope="module")
def make(librispeech: Path, cache: Path) -> Callable[..., LibriSpeech]:
    """Make the DataModule on the small data set, with other settings where they are given."""
    return lambda **options: small_librispeech(**({"root": str(librispeech), "cache": str(cache)} | SMALL | options))


@pytest.fixture(scope="module")
def prepared(make: Callable[..., LibriSpeech]) -> Callable[..., LibriSpeech]:
    """The same, after what a Trainer calls first."""

    def prepare(stage: str, **options: Any) -> LibriSpeech:
        data = make(**options)
        data.prepare_data()
        data.setup(stage)
        return data

    return prepare


@pytest.fixture
def copy(librispeech: Path, tmp_path: Path) -> Path:
    """A copy of the small data set, to be damaged."""
    return shutil.copytree(librispeech, tmp_path / "LibriSpeech")


@pytest.fixture(scope="module")
def make_sharded(shards: Path, librispeech: Path, cache: Path) -> Callable[..., LibriSpeech]:
    """Make the DataModule on the small shards, with other settings where they are given."""
    given: dict[str, Any] = {
        "root": str(librispeech),
        "cache": str(cache),
        "val": ["dev-small"],
        "shards": pattern(shards),
        "shard_buffer": 8,
        "num_features": 16,
        "max_batch_length": 6.0,
        "seed": 3,
    }
    return lambda **options: small_librispeech(**given | options)
