"""Commands of the test files that say in a fixture ``words`` what theirs have in common."""

from pathlib import Path
from typing import Any

import pytest

from train import main


@pytest.fixture(scope="module")
def run(words: list[str], folder: Path) -> Any:
    """Run commands in one folder, one after the other, as a user does."""
    return lambda command, *more: main([command, *words, *more])


@pytest.fixture(scope="module")
def trained(run: Any) -> Path:
    """The folder of a finished run of two epochs."""
    return Path(run("fit").trainer.log_dir).resolve()
