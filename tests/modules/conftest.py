"""Commands of the test files that say in a fixture ``words`` what theirs have in common."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from train import main


@pytest.fixture(scope="module")
def run(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Run commands in one folder, one after the other, as a user does."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["train.py"])
        yield lambda command, *more: main([command, *words, *more])


@pytest.fixture(scope="module")
def trained(run: Any) -> Path:
    """The folder of a finished run of two epochs."""
    return Path(run("fit").trainer.log_dir).resolve()
