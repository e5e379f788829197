"""Plans for devices that are not there: as TorchRec's tutorials show them, read, written, and refused."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import nn
from torch.distributed.optim import _apply_optimizer_in_backward
from torchrec.modules.embedding_configs import PoolingType
from torchrec.modules.embedding_modules import EmbeddingBagCollection

from sextant.errors import InputError
from sextant.strategies.embedding_tables import table_configs
from sextant.strategies.table_plan import GB, Allowed, Devices, Plan, ShardingType, make_plan, read_plan
from sextant.strategies.torchrec import TorchRecStrategy

TUTORIAL = {"large_0": 4096, "large_1": 4096, "small_0": 1024, "small_1": 1024}
TWO = Devices("cuda", 2, 2, 10 * GB)


def model(tables: dict[str, int] | None = None, dim: int = 64) -> nn.Module:
    """A model with tables on the meta device, trained by SGD."""
    configs = table_configs(tables or TUTORIAL, dim, PoolingType.SUM)
    ebc = EmbeddingBagCollection(configs, device=torch.device("meta"))
    _apply_optimizer_in_backward(torch.optim.SGD, ebc.parameters(), {"lr": 0.1}, register_hook=False)
    return nn.ModuleDict({"ebc": ebc})


def plan(kind: ShardingType, devices: Devices = TWO) -> Plan:
    return make_plan(model(), devices, Allowed([kind]), {}, 512)


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
def test_tables_of_the_tutorial_are_cut_into_halves_or_copied(kind: ShardingType, devices: Devices) -> None:
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


def test_tables_of_the_tutorial_are_kept_whole_and_dealt_evenly() -> None:
    found = rectangles(plan("table_wise"))
    for size in ("large", "small"):
        assert sorted(found[f"{size}_{i}"][0][0] for i in (0, 1)) == [0, 1]
    for name, rows in TUTORIAL.items():
        assert [s[1:] for s in found[name]] == [(0, 0, rows, 64)]


def test_copies_are_not_said_to_be_shards() -> None:
    made = plan("data_parallel").to_torchrec()
    for table in TUTORIAL:
        assert made.plan["ebc"][table].sharding_spec is None


def test_plan_for_64_gpus_of_8_nodes_needs_none() -> None:
    tables = {f"t{i}": 1_000_000 * (i + 1) for i in range(4)}
    devices = Devices("cuda", 64, 8, 60 * GB)
    made = make_plan(model(tables, 128), devices, Allowed(["table_wise", "column_wise", "grid_shard"]), {}, 2048)
    assert {t.name for t in made.tables} == set(tables)
    for table in made.tables:
        if table.sharding_type != "data_parallel":
            assert sum(s.rows * s.columns for s in table.shards) == tables[table.name] * 128
        for shard in table.shards:
            assert shard.placement == f"rank:{shard.rank}/cuda:{shard.rank % 8}"
    assert max(size for size, _ in made.loads()) <= devices.memory
    rows = make_plan(model(tables, 128), devices, Allowed(["row_wise"]), {}, 2048)
    assert all(sorted(s.rank for s in t.shards) == list(range(64)) for t in rows.tables)
    nodes = make_plan(model(tables, 128), devices, Allowed(["table_row_wise"]), {}, 2048)
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
        made = make_plan(made_of, there, Allowed(kinds), {}, 64)
    except InputError as error:
        assert kinds is not None
        assert "cannot be cut in any of the ways that are allowed" in str(error)  # noqa: PT017 - only if it is raised
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
        copies = there.count if table.sharding_type == "data_parallel" else 1
        assert (covered == copies).all()


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
        lambda p: p["tables"][0]["shards"][0].update(rank="0"),
        lambda p: p["tables"][0]["shards"][0].update(rank=2),
        lambda p: p["tables"][0]["shards"][0].update(rank=-1),
        lambda p: p["tables"][0]["shards"][0].update(rows=None),
        lambda p: p["tables"][0]["shards"][1].update(row=0),  # twice the same
        lambda p: p["tables"][0]["shards"][1].update(row=2049),  # beyond the end
        lambda p: p["tables"][0]["shards"].pop(),
    ],
)
def test_broken_plan_is_named(written: Path, act: Callable[[dict[str, Any]], Any]) -> None:
    change(written, act)
    with pytest.raises(InputError, match=r"plan\.json"):
        read_plan(written, model(), TWO)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff\xfe", b"null"])
def test_file_that_is_no_plan_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "plan.json").write_bytes(content)
    with pytest.raises(InputError, match=r"plan\.json: it is no plan"):
        read_plan(tmp_path / "plan.json", model(), TWO)
    with pytest.raises(InputError, match="cannot be read"):
        read_plan(tmp_path / "nowhere.json", model(), TWO)


def test_copy_that_is_on_one_rank_twice_is_refused(tmp_path: Path) -> None:
    made = json.loads(plan("data_parallel").to_json())
    made["tables"][0]["shards"][1] |= {"rank": 0, "placement": "rank:0/cuda:0"}
    (tmp_path / "plan.json").write_text(json.dumps(made))
    with pytest.raises(InputError, match="do not make up the table"):
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


def test_table_that_does_not_fit_is_named_with_what_is_missing_and_what_would_do() -> None:
    tables = {"small": 100, "huge": 10_000_000}
    with pytest.raises(InputError, match=r"table huge does not fit") as raised:
        make_plan(model(tables), Devices("cpu", 2, 2, GB), Allowed(["table_wise"]), {}, 512)
    numbers = re.search(
        r"takes ([\d,]+) bytes, ([\d,]+) more than the 1\.000 GB .* memory_gb=([\d.]+),", str(raised.value)
    )
    assert numbers is not None
    needed, missing = (int(number.replace(",", "")) for number in numbers.groups()[:2])
    assert 4 * 64 * 10_000_000 <= needed == missing + GB
    enough = float(numbers[3])
    make_plan(model({"huge": 10_000_000}), Devices("cpu", 2, 2, round(enough * GB)), Allowed(["table_wise"]), {}, 512)
    with pytest.raises(InputError):
        make_plan(model(tables), Devices("cpu", 2, 2, round((enough - 0.01) * GB)), Allowed(["table_wise"]), {}, 512)


def test_tables_that_do_not_fit_together_are_refused_with_what_would_do() -> None:
    tables = {f"t{i}": 2_000_000 for i in range(8)}  # half a GB each
    with pytest.raises(InputError, match="the tables do not fit: they take") as raised:
        make_plan(model(tables), Devices("cpu", 2, 2, GB), Allowed(), {}, 512)
    numbers = re.search(r"take ([\d,]+) bytes .*, ([\d,]+) more.* About (\d+) devices would do", str(raised.value))
    assert numbers is not None
    total, missing = (int(number.replace(",", "")) for number in numbers.groups()[:2])
    assert total == missing + 2 * GB
    assert total > 4 * 64 * sum(tables.values())
    count = int(numbers[3]) + 1
    make_plan(model(tables), Devices("cpu", count, count, GB), Allowed(), {}, 512)


def test_single_tables_may_have_settings_of_their_own() -> None:
    own = {"large_0": Allowed(["column_wise"], min_columns=16), "small_0": Allowed(["data_parallel"])}
    made = make_plan(model(), Devices("cuda", 4, 4, GB), Allowed(["table_wise"]), own, 512)
    types = {t.name: t.sharding_type for t in made.tables}
    assert types == {
        "large_0": "column_wise", "large_1": "table_wise", "small_0": "data_parallel", "small_1": "table_wise",
    }  # fmt: skip
    assert {s[4] for s in rectangles(made)["large_0"]} <= {16, 32}
    with pytest.raises(InputError, match="there is no table 'larg'; there are large_0, large_1"):
        make_plan(model(), TWO, Allowed(), {"larg": Allowed()}, 512)


def test_kernels_in_the_hosts_memory_may_be_asked_for() -> None:
    made = make_plan(model(), TWO, Allowed(["row_wise"], ["fused_uvm"]), {}, 512)
    assert {t.compute_kernel for t in made.tables} == {"fused_uvm"}


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"sharding_types": []}, "an empty list allows nothing"),
        ({"compute_kernels": []}, "an empty list allows nothing"),
        ({"min_columns": 6}, r"min_columns is 6"),
        ({"min_columns": 0}, r"min_columns is 0"),
        ({"memory_gb": 0}, r"memory_gb is 0"),
        ({"batch_size": 0}, r"batch_size is 0"),
        ({"timeout_minutes": 0}, r"timeout_minutes is 0"),
    ],
)
def test_settings_that_make_no_sense_are_named(settings_: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TorchRecStrategy(**settings_)


def test_scaled_gradients_are_refused() -> None:
    """On the CPU Lightning takes bfloat16 for 16-mixed by itself."""
    strategy = TorchRecStrategy()
    strategy.precision_plugin = MixedPrecision("16-mixed", "cuda")
    with pytest.raises(InputError, match=r"16-mixed cannot be used.*scaled gradients would go straight into them"):
        strategy._refuse(Trainer(accelerator="cpu", logger=False))
