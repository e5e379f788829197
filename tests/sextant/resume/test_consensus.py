"""Processes agree on the largest of what they say, one call later."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import distributed

from sextant.resume.consensus import Consensus
from tests.ranks import Ranks


def test_one_process_agrees_with_itself_at_once() -> None:
    consensus = Consensus(1)
    assert consensus([0, 3]) == [0, 3]
    assert consensus.finish() == []


@pytest.fixture
def ranks(tmp_path: Path) -> Iterator[Ranks]:
    ranks = Ranks(2, tmp_path / "log")
    yield ranks
    ranks.close()


def agree(folder: Path) -> None:
    import os

    rank = int(os.environ["LOCAL_RANK"])
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    consensus = Consensus(2)
    said = [[[5, 0], [15, 0], [0, 1], [0, 0]], [[0, 2], [0, 0], [10, 0], [0, 0]]][rank]
    assert [consensus(values) for values in said] == [[0, 0], [5, 2], [15, 0], [10, 1]]
    assert consensus.finish() == [0, 0]
    assert consensus.finish() == []


def test_several_processes_hear_the_largest_of_what_was_said_before(ranks: Ranks, tmp_path: Path) -> None:
    ranks.run(agree, tmp_path)
