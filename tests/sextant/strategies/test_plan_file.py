"""Files with plans: read, and refused where they are for something else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sextant.errors import InputError
from sextant.strategies.plan_file import read_plan
from sextant.strategies.table_constraints import GB, Devices
from tests.mutations import require_only_input_errors
from tests.sextant.strategies.planned_models import TUTORIAL, TWO, model, plan


@pytest.fixture
def written(tmp_path: Path) -> Path:
    file = tmp_path / "plan.json"
    file.write_text(plan("row_wise").to_json())
    return file


def test_plan_for_something_else_is_refused(written: Path) -> None:
    assert read_plan(written, model(), TWO) == plan("row_wise")
    for devices, there in ((Devices("cuda", 4, 4, GB), "4 on cuda"), (Devices("cpu", 2, 2, GB), "2 on cpu")):
        with pytest.raises(InputError, match=f"for 2 processes on cuda, 2 on a node; this run has {there}"):
            read_plan(written, model(), devices)
    with pytest.raises(InputError, match="1 on a node"):
        read_plan(written, model(), Devices("cuda", 2, 1, GB))
    with pytest.raises(InputError, match=r"the model has a table ebc\.more, the plan has not"):
        read_plan(written, model({**TUTORIAL, "more": 3}), TWO)
    with pytest.raises(InputError, match=r"it has a table ebc\.small_1, the model has not"):
        read_plan(written, model({k: v for k, v in TUTORIAL.items() if k != "small_1"}), TWO)
    with pytest.raises(InputError, match=r"ebc\.large_0 have 262,144 numbers, the model's table of 4,098 x 64 has"):
        read_plan(written, model({**TUTORIAL, "large_0": 4098}), TWO)
    with pytest.raises(InputError, match="do not make up the table"):  # as many numbers, of another shape
        read_plan(written, model({name: rows // 2 for name, rows in TUTORIAL.items()}, 128), TWO)


def change(written: Path, act: Callable[[dict[str, Any]], Any]) -> None:
    made = json.loads(written.read_text())
    act(made)
    written.write_text(json.dumps(made))


@pytest.mark.parametrize(
    "act",
    [
        lambda p: p.pop("tables"),
        lambda p: p.update(tables=[1]),
        lambda p: p.update(more=1),
        lambda p: p["tables"][0].update(sharding_type="by_color"),
        lambda p: p["tables"][0].update(compute_kernel="popcorn"),
        lambda p: p["tables"][0].pop("shards"),
        lambda p: p["tables"][0].update(module=[]),
        lambda p: p["tables"][0]["shards"][0].update(rank="0"),
        lambda p: p["tables"][0]["shards"][0].update(rank=2),
        lambda p: p["tables"][0]["shards"][0].update(rank=-1),
        lambda p: p["tables"][0]["shards"][0].update(rows=None),
        lambda p: p["tables"][0]["shards"][0].update(row=-2048),  # before the start, beside no other one
        lambda p: p["tables"][0]["shards"][0].update(column=-64),
        lambda p: p["tables"][0]["shards"][0].update(rows=-2048, columns=-64),  # as many numbers
        lambda p: p["tables"][0]["shards"][1].update(row=0),  # twice the same
        lambda p: p["tables"][0]["shards"][1].update(row=2049),  # beyond the end
        lambda p: p["tables"][0]["shards"].pop(),
    ],
)
def test_broken_plan_is_named(written: Path, act: Callable[[dict[str, Any]], Any]) -> None:
    change(written, act)
    with pytest.raises(InputError, match=r"plan\.json"):
        read_plan(written, model(), TWO)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"null", b"[" * 5000])
def test_file_that_is_no_plan_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "plan.json").write_bytes(content)
    with pytest.raises(InputError, match=r"plan\.json: it is no plan"):
        read_plan(tmp_path / "plan.json", model(), TWO)
    with pytest.raises(InputError, match="cannot be read"):
        read_plan(tmp_path / "nowhere.json", model(), TWO)


def test_replica_that_is_on_one_rank_twice_is_refused(tmp_path: Path) -> None:
    made = json.loads(plan("data_parallel").to_json())
    made["tables"][0]["shards"][1] |= {"rank": 0, "placement": "rank:0/cuda:0"}
    (tmp_path / "plan.json").write_text(json.dumps(made))
    with pytest.raises(InputError, match="do not make up the table"):
        read_plan(tmp_path / "plan.json", model(), TWO)


def test_shard_on_a_rank_that_there_is_not_is_named(tmp_path: Path) -> None:
    made = json.loads(plan("row_wise").to_json())
    made["tables"][0]["shards"][1] |= {"rank": 2, "placement": "rank:2/cuda:2"}
    (tmp_path / "plan.json").write_text(json.dumps(made))
    with pytest.raises(InputError, match="is on rank 2; there are 2"):
        read_plan(tmp_path / "plan.json", model(), TWO)


def test_plan_that_torchrec_would_take_for_another_one_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    made = json.loads(plan("row_wise").to_json())
    made["tables"][0]["shards"][1]["placement"] = "rank:0/cuda:0"
    file.write_text(json.dumps(made))
    with pytest.raises(InputError, match="on rank 1 is placed on rank:0/cuda:0, not rank:1/cuda:1"):
        read_plan(file, model(), TWO)
    made = json.loads(plan("row_wise").to_json())
    made["tables"][0]["compute_kernel"] = "dense"
    file.write_text(json.dumps(made))
    with pytest.raises(InputError, match="row_wise with the kernel dense"):
        read_plan(file, model(), TWO)
    made = json.loads(plan("row_wise").to_json())
    for shard, other in zip(made["tables"][0]["shards"], (1, 0), strict=True):
        shard |= {"rank": other, "placement": f"rank:{other}/cuda:{other}"}
    file.write_text(json.dumps(made))
    with pytest.raises(InputError, match="must be on all ranks, in order"):
        read_plan(file, model(), TWO)


@pytest.mark.fuzz
def test_plan_with_any_damage_is_read_or_refused(written: Path) -> None:
    require_only_input_errors(written, lambda: read_plan(written, model(), TWO))
