"""A subset of a few utterances that each test may damage, with a cache of its own."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def subset(librispeech: Path, tmp_path: Path) -> Path:
    """A copy of a small subset, to be damaged."""
    return shutil.copytree(librispeech / "dev-small", tmp_path / "dev-small")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache of its own for each test."""
    return tmp_path / "cache"
