"""Plans: as TorchRec takes them, and as they are shown."""

import json

import pytest

from sextant.strategies.table_plan import Plan
from tests.sextant.strategies.planned_models import TUTORIAL, plan


def test_replicas_are_not_said_to_be_shards() -> None:
    made = plan("data_parallel").to_torchrec()
    for table in TUTORIAL:
        assert made.plan["ebc"][table].sharding_spec is None


def shown(made: Plan, name: str) -> str:
    return next(line for line in str(made).splitlines() if line.startswith(f"ebc.{name} "))


def test_plan_is_shown_with_what_it_takes() -> None:
    made = plan("row_wise")
    assert shown(made, "large_0").split()[:7] == [
        "ebc.large_0",
        "row_wise",
        "fused",
        "0",
        "0,0",
        "2048x64",
        "rank:0/cuda:0",
    ]
    for rank, (size, _) in enumerate(made.loads()):
        weights = sum(4 * s.rows * s.columns for t in made.tables for s in t.shards if s.rank == rank)
        assert weights == 4 * 64 * sum(TUTORIAL.values()) // 2
        assert weights <= size < 10 * weights


def test_plan_is_read_as_it_was_written() -> None:
    made = plan("row_wise")
    assert Plan.from_json(made.to_json()) == made


@pytest.mark.parametrize("wrong", [-1, 0.5, "0", None])
@pytest.mark.parametrize("name", ["rank", "row", "column", "rows", "columns"])
def test_number_of_a_shard_that_is_no_count_is_refused(name: str, wrong: object) -> None:
    made = json.loads(plan("row_wise").to_json())
    made["tables"][0]["shards"][0][name] = wrong
    with pytest.raises(ValueError, match=f"'{name}': {wrong!r}.* is no shard"):
        Plan.from_json(json.dumps(made))
