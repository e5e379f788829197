"""The DataModule on the small text."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datamodules.wikitext2 import WikiText2
from tests.datamodules import text_data
from tests.datamodules.text_data import SMALL


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache of its own for each test."""
    return tmp_path / "cache"


@pytest.fixture
def make(wikitext2: Path, cache: Path) -> Callable[..., WikiText2]:
    """Make the DataModule on the small text, with other settings where they are given."""
    return lambda **options: text_data.wikitext2(**({"root": str(wikitext2), "cache": str(cache)} | SMALL | options))


@pytest.fixture
def prepared(make: Callable[..., WikiText2]) -> Callable[..., WikiText2]:
    """The same, after what a Trainer calls first."""

    def prepare(stage: str, **options: Any) -> WikiText2:
        data = make(**options)
        data.prepare_data()
        data.setup(stage)
        return data

    return prepare
