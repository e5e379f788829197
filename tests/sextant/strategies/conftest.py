"""Processes that the tests of this folder share, and runs that several of them look at."""

from collections.abc import Iterator

import pytest

from tests.ranks import Ranks
from tests.sextant.strategies.sharded_runs import Runs


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Runs of a small model; each is made when a test first asks for it, and kept."""
    runs = Runs(tmp_path_factory.mktemp("runs"))
    yield runs
    runs.close()


@pytest.fixture(scope="session")
def two_ranks(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Ranks:
    """Two processes."""
    return runs.ranks(2)
