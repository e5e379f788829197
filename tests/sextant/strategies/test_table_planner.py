"""Plans for devices that are not there: as TorchRec's tutorials show them, and refused where tables do not fit."""

import re
from collections.abc import Callable
from typing import get_args

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st

from sextant.errors import InputError
from sextant.strategies.plan_file import read_plan
from sextant.strategies.table_constraints import GB, Devices, ShardingType, TableConstraints
from sextant.strategies.table_plan import Plan
from sextant.strategies.table_planner import make_plan
from tests.sextant.strategies.planned_models import TUTORIAL, TWO, model, plan


def rectangles(made: Plan) -> dict[str, list[tuple[int, int, int, int, int]]]:
    return {t.name: [(s.rank, s.row, s.column, s.rows, s.columns) for s in t.shards] for t in made.tables}


# https://pytorch.org/tutorials/advanced/sharding.html and TorchRec's tutorial of sharding
HALVES: dict[ShardingType, Callable[[int], list[tuple[int, int, int, int, int]]]] = {
    "row_wise": lambda rows: [(0, 0, 0, rows // 2, 64), (1, rows // 2, 0, rows // 2, 64)],
    "table_row_wise": lambda rows: [(0, 0, 0, rows // 2, 64), (1, rows // 2, 0, rows // 2, 64)],
    "column_wise": lambda rows: [(0, 0, 0, rows, 32), (1, 0, 32, rows, 32)],
    "table_column_wise": lambda rows: [(0, 0, 0, rows, 32), (1, 0, 32, rows, 32)],
    "data_parallel": lambda rows: [(0, 0, 0, rows, 64), (1, 0, 0, rows, 64)],
}


@pytest.mark.parametrize("kind", HALVES)
@pytest.mark.parametrize("devices", [TWO, Devices("cpu", 2, 2, 10 * GB)], ids=["cuda", "cpu"])
def test_tables_of_the_tutorial_are_split_into_halves_or_replicated(kind: ShardingType, devices: Devices) -> None:
    assert not dist.is_initialized()
    made = plan(kind, devices)
    found = rectangles(made)
    assert list(found) == list(TUTORIAL)
    for name, rows in TUTORIAL.items():
        assert sorted(found[name], key=lambda s: (s[1], s[2], s[0])) == sorted(
            HALVES[kind](rows), key=lambda s: (s[1], s[2], s[0])
        ) or {s[1:] for s in found[name]} == {s[1:] for s in HALVES[kind](rows)}
        assert sorted(s[0] for s in found[name]) == [0, 1]
    for table in made.tables:
        assert table.sharding_type == kind
        for shard in table.shards:
            assert shard.placement == f"rank:{shard.rank}/{'cpu' if devices.kind == 'cpu' else f'cuda:{shard.rank}'}"


def test_tables_of_the_tutorial_are_kept_whole_and_distributed_evenly() -> None:
    found = rectangles(plan("table_wise"))
    for size in ("large", "small"):
        assert sorted(found[f"{size}_{i}"][0][0] for i in (0, 1)) == [0, 1]
    for name, rows in TUTORIAL.items():
        assert [s[1:] for s in found[name]] == [(0, 0, rows, 64)]


def test_plan_for_64_gpus_of_8_nodes_needs_none() -> None:
    tables = {f"t{i}": 1_000_000 * (i + 1) for i in range(4)}
    devices = Devices("cuda", 64, 8, 60 * GB)
    made = make_plan(
        model(tables, 128), devices, TableConstraints(["table_wise", "column_wise", "grid_shard"]), {}, 2048
    )
    assert {t.name for t in made.tables} == set(tables)
    for table in made.tables:
        if table.sharding_type != "data_parallel":
            assert sum(s.rows * s.columns for s in table.shards) == tables[table.name] * 128
        for shard in table.shards:
            assert shard.placement == f"rank:{shard.rank}/cuda:{shard.rank % 8}"
    assert max(size for size, _ in made.loads()) <= devices.memory
    rows = make_plan(model(tables, 128), devices, TableConstraints(["row_wise"]), {}, 2048)
    assert all(sorted(s.rank for s in t.shards) == list(range(64)) for t in rows.tables)
    nodes = make_plan(model(tables, 128), devices, TableConstraints(["table_row_wise"]), {}, 2048)
    assert all(len({s.rank // 8 for s in t.shards}) == 1 and len(t.shards) == 8 for t in nodes.tables)


@settings(deadline=None, max_examples=15)
@given(
    tables=st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 300), min_size=1),
    dim=st.sampled_from([4, 64, 96]),
    devices=st.sampled_from([(1, 1), (2, 2), (3, 3), (4, 2), (8, 4)]),
    kinds=st.one_of(st.none(), st.lists(st.sampled_from(get_args(ShardingType)), min_size=1, unique=True)),
    device=st.sampled_from(["cpu", "cuda"]),
)
def test_shards_of_any_plan_make_up_each_table_and_are_read_as_written(
    tables: dict[str, int],
    dim: int,
    devices: tuple[int, int],
    kinds: list[ShardingType] | None,
    device: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    there = Devices(device, *devices, GB)
    made_of = model(tables, dim)
    try:
        made = make_plan(made_of, there, TableConstraints(kinds), {}, 64)
    except InputError as error:
        assert kinds is not None
        assert "cannot be sharded in any of the ways that are allowed" in str(error)  # noqa: PT017 - only if it is raised
        return
    assert Plan.from_json(made.to_json()) == made
    assert str(Plan.from_json(made.to_json())) == str(made)
    file = tmp_path_factory.mktemp("plan") / "plan.json"
    file.write_text(made.to_json())
    assert read_plan(file, made_of, there) == made
    for table in made.tables:
        covered = torch.zeros(tables[table.name], dim)
        for s in table.shards:
            covered[s.row : s.row + s.rows, s.column : s.column + s.columns] += 1
        replicas = there.count if table.sharding_type == "data_parallel" else 1
        assert (covered == replicas).all()


def test_table_that_does_not_fit_is_named_with_what_is_missing_and_what_would_do() -> None:
    tables = {"small": 100, "huge": 10_000_000}
    with pytest.raises(InputError, match=r"table huge does not fit") as raised:
        make_plan(model(tables), Devices("cpu", 2, 2, GB), TableConstraints(["table_wise"]), {}, 512)
    numbers = re.search(
        r"takes ([\d,]+) bytes, ([\d,]+) more than the 1\.000 GB .* memory_gb=([\d.]+),", str(raised.value)
    )
    assert numbers is not None
    needed, missing = (int(number.replace(",", "")) for number in numbers.groups()[:2])
    assert 4 * 64 * 10_000_000 <= needed == missing + GB
    enough = float(numbers[3])
    make_plan(
        model({"huge": 10_000_000}), Devices("cpu", 2, 2, round(enough * GB)), TableConstraints(["table_wise"]), {}, 512
    )
    with pytest.raises(InputError):
        make_plan(
            model(tables), Devices("cpu", 2, 2, round((enough - 0.01) * GB)), TableConstraints(["table_wise"]), {}, 512
        )


def test_tables_that_do_not_fit_together_are_refused_with_what_would_do() -> None:
    tables = {f"t{i}": 2_000_000 for i in range(8)}  # half a GB each
    with pytest.raises(InputError, match="the tables do not fit: they take") as raised:
        make_plan(model(tables), Devices("cpu", 2, 2, GB), TableConstraints(), {}, 512)
    numbers = re.search(r"take ([\d,]+) bytes .*, ([\d,]+) more.* About (\d+) devices would do", str(raised.value))
    assert numbers is not None
    total, missing = (int(number.replace(",", "")) for number in numbers.groups()[:2])
    assert total == missing + 2 * GB
    assert total > 4 * 64 * sum(tables.values())
    count = int(numbers[3]) + 1
    make_plan(model(tables), Devices("cpu", count, count, GB), TableConstraints(), {}, 512)


def test_single_tables_may_have_settings_of_their_own() -> None:
    own = {"large_0": TableConstraints(["column_wise"], min_columns=16), "small_0": TableConstraints(["data_parallel"])}
    made = make_plan(model(), Devices("cuda", 4, 4, GB), TableConstraints(["table_wise"]), own, 512)
    types = {t.name: t.sharding_type for t in made.tables}
    assert types == {
        "large_0": "column_wise", "large_1": "table_wise", "small_0": "data_parallel", "small_1": "table_wise",
    }  # fmt: skip
    assert {s[4] for s in rectangles(made)["large_0"]} <= {16, 32}
    with pytest.raises(InputError, match="there is no table 'larg'; there are large_0, large_1"):
        make_plan(model(), TWO, TableConstraints(), {"larg": TableConstraints()}, 512)


def test_kernels_in_the_hosts_memory_may_be_asked_for() -> None:
    made = make_plan(model(), TWO, TableConstraints(["row_wise"], ["fused_uvm"]), {}, 512)
    assert {t.compute_kernel for t in made.tables} == {"fused_uvm"}
