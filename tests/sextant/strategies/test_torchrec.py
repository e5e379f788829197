"""Sharded runs learn what unsharded ones do, and refuse what would silently go wrong."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.precision import MixedPrecision

from sextant.errors import InputError
from sextant.resume.checkpoint_io import AtomicCheckpointIO
from sextant.strategies.table_constraints import ShardingType, TableConstraints
from sextant.strategies.table_plan import Plan
from sextant.strategies.torchrec import TorchRecStrategy
from tests.sextant.strategies.generated_clicks import TABLES
from tests.sextant.strategies.sharded_runs import Case, Runs, alone, assert_same, saved, sharded

TYPES: tuple[ShardingType, ...] = get_args(ShardingType)
KINDS = [
    pytest.param(kind, marks=[pytest.mark.slow] * (kind not in ("row_wise", "grid_shard", "data_parallel")))
    for kind in TYPES
]
#: Row-wise Adagrad is another optimizer where columns are split.
ADAGRADS = [
    *(("adagrad", kind) for kind in ("row_wise", "column_wise", "grid_shard", "data_parallel")),
    *(
        pytest.param("row_wise_adagrad", kind, marks=pytest.mark.slow)
        for kind in ("table_wise", "row_wise", "table_row_wise", "data_parallel")
    ),
]
MIXED: dict[str, ShardingType] = dict(
    zip(TABLES, ("row_wise", "column_wise", "table_wise", "data_parallel"), strict=True)
)
VALIDATED = sharded("row_wise", "adagrad", "validated", validate_every=3)


def mixed(name: str, **more: Any) -> Case:
    """Each table is sharded in a way of its own."""
    tables = {table: TableConstraints([kind]) for table, kind in MIXED.items()}
    return Case(name, {"tables": tables}, "adagrad", **more)


@pytest.mark.parametrize(
    ("optimizer", "kind"), [*(pytest.param("sgd", *kind.values, marks=kind.marks) for kind in KINDS), *ADAGRADS]
)
def test_sharded_tables_learn_what_whole_ones_do(runs: Runs, optimizer: str, kind: str) -> None:
    expected, found = runs(alone(optimizer)), runs(sharded(kind, optimizer))
    assert_same(found, expected)
    # What is compared has moved by far more than what is allowed.
    for table, value in expected["tables"].items():
        assert (value - expected["initial"][table]).abs().max() > 1e-2
    plan = Plan.from_json(found["plan"])
    assert {table.sharding_type for table in plan.tables} == {kind}
    assert [table.name for table in plan.tables] == list(TABLES)


@pytest.mark.parametrize("kind", KINDS)
def test_model_starts_the_same_under_every_plan(runs: Runs, kind: str) -> None:
    expected, run = runs(alone())["initial"], runs(sharded(kind))
    found = run["initial"]
    assert found.keys() == expected.keys()
    for name, table in found.items():
        assert torch.equal(table, expected[name])
    assert run["sizes"] == {f"tables.{name}": table.numel() for name, table in expected.items()}
    shards = [
        found[f"embedding_bags.{table.name}.weight"][s.row : s.row + s.rows, s.column : s.column + s.columns]
        for table in Plan.from_json(run["plan"]).tables
        for s in (table.shards[:1] if table.replicated else table.shards)
        if s.rows
    ]
    starts = {tuple((shard / shard.abs().max()).flatten()[:4].tolist()) for shard in shards}
    assert len(starts) == len(shards)


@pytest.mark.parametrize("kind", ["row_wise", pytest.param("column_wise", marks=pytest.mark.slow)])
def test_means_of_values_are_learned_the_same(runs: Runs, kind: str) -> None:
    expected = runs(alone(name="mean", pooling="mean"))
    assert_same(runs(sharded(kind, name=f"mean-{kind}", pooling="mean")), expected)
    assert abs(expected["losses"][-1] - runs(alone())["losses"][-1]) > 1e-5


def test_each_table_may_be_sharded_in_its_own_way(runs: Runs) -> None:
    first = mixed("mixed", save_at=(7,))
    plan = Plan.from_json(runs(first)["plan"])
    assert {table.name: table.sharding_type for table in plan.tables} == MIXED
    expected = runs(alone("adagrad"))
    assert_same(runs(first), expected)
    assert_same(runs(mixed("mixed-resumed", resume=first)), expected, begin=7)


@pytest.mark.slow
def test_gradients_are_clipped_as_without_sharding(runs: Runs) -> None:
    clip = {"gradient_clip_val": 0.01}
    expected = runs(alone(name="clipped-alone", trainer=clip))
    assert_same(runs(sharded("row_wise", name="clipped", trainer=clip)), expected)
    free = runs(alone())
    assert any((value - free["network"][name]).abs().max() > 1e-3 for name, value in expected["network"].items())


def test_validation_within_an_epoch_does_not_disturb_training(runs: Runs) -> None:
    validated = runs(VALIDATED)
    assert_same(validated, runs(sharded("row_wise", "adagrad")), tolerance=0)
    expected = runs(alone("adagrad", name="validated-alone", validate_every=3))
    assert len(validated["val_losses"]) == 6
    assert validated["val_losses"] == pytest.approx(expected["val_losses"], abs=1e-6)
    assert len(set(expected["val_losses"])) == 6


@pytest.mark.parametrize(
    "kind", ["grid_shard", *(pytest.param(k, marks=pytest.mark.slow) for k in ("row_wise", "column_wise"))]
)
def test_ids_that_are_exchanged_ahead_change_nothing_and_no_batch_is_lost(runs: Runs, kind: str) -> None:
    """Also with validations within the epochs, whose batches come between."""
    settings = {"sharding_types": [kind], "pipelined": True}
    found = runs(Case(f"pipelined-{kind}", settings, "adagrad", validate_every=3))
    assert_same(found, runs(sharded(kind, "adagrad")), tolerance=0)
    assert found["val_losses"] == pytest.approx(runs(VALIDATED)["val_losses"], abs=1e-6)


@pytest.mark.slow
def test_bf16_is_close_to_float32(runs: Runs) -> None:
    expected = runs(sharded("row_wise", "adagrad"))
    found = runs(sharded("row_wise", "adagrad", "bf16", trainer={"precision": "bf16-mixed"}))
    assert found["losses"] == pytest.approx(expected["losses"], abs=0.02)
    assert found["losses"] != expected["losses"]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (
            Case("accumulate", {}, trainer={"accumulate_grad_batches": 2}),
            r"accumulate_grad_batches is 2.*Use 1, and a larger batch_size",
        ),
        *(
            (
                Case(f"precision_{precision}", {}, trainer={"precision": precision}),
                rf"precision {precision} cannot be used.*bf16-mixed",
            )
            for precision in ("16-true", "bf16-true", "64-true")
        ),
        (
            Case("unknown_table", {"tables": {"nowhere": TableConstraints()}}),
            r"there is no table 'nowhere'; there are large, odd, small",
        ),
        (Case("too_small", {"memory_gb": 0.0001}), r"table large does not fit.*bytes.*It fits with memory_gb="),
        (sharded("row_wise", name="no-tables", other_model=True), "BoringModel has no EmbeddingBagCollection"),
    ],
    ids=lambda value: value.name if isinstance(value, Case) else "",
)
def test_what_would_silently_go_wrong_is_refused(runs: Runs, case: Case, message: str) -> None:
    found = runs(case)
    assert "error" in found, "it was not refused"
    assert re.search(message, found["error"]), found["error"]


@pytest.mark.parametrize(
    ("split", "options", "message"),
    [
        ("train", {}, r"different numbers of training steps: \[11, 10\]"),
        ("val", {"validate_every": 3}, r"different numbers of validation steps: \[\[4\], \[3\]\]"),
    ],
)
def test_process_with_more_batches_than_the_others_would_wait_for_ever(
    runs: Runs, split: str, options: dict[str, Any], message: str
) -> None:
    found = runs(sharded("row_wise", name=f"uneven-{split}", uneven=split, **options))
    assert re.search(message, found.get("error", "")), found


@pytest.mark.parametrize("kind", ["table_wise", "row_wise", "column_wise", "data_parallel"])
def test_id_beyond_its_table_is_an_error_and_not_another_row(runs: Runs, kind: str) -> None:
    """In one process: where another one holds the table, the run ends with the loss of that process."""
    found = runs(sharded(kind, name=f"beyond-{kind}", steps=1, beyond=True, processes=1))
    assert "error" in found, "another row was looked up"
    assert re.search(r"an id is beyond the rows of its table.*(idx < num_rows|out of bounds: 4500)", found["error"])


def test_scaled_gradients_are_refused() -> None:
    """On the CPU Lightning takes bfloat16 for 16-mixed by itself."""
    strategy = TorchRecStrategy()
    strategy.precision_plugin = MixedPrecision("16-mixed", "cuda")
    with pytest.raises(InputError, match=r"16-mixed cannot be used.*scaled gradients would go straight into them"):
        strategy.setup(Trainer(accelerator="cpu", logger=False))


def test_folder_of_all_processes_cannot_be_on_an_object_store() -> None:
    run = Trainer(accelerator="cpu", logger=False, default_root_dir="memory://runs")
    with pytest.raises(InputError, match=r"memory://runs is not on a file system of this machine, .* all nodes see"):
        TorchRecStrategy().setup(run)


@pytest.mark.parametrize(
    ("settings", "message"),
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
def test_settings_that_make_no_sense_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TorchRecStrategy(**settings)


def test_replicas_start_the_same_where_processes_have_seeds_of_their_own(runs: Runs) -> None:
    found = runs(sharded("data_parallel", name="own-seeds", own_seeds=True))["initial"]
    # That all have the same is asserted where they are put together.
    for name, table in runs(alone())["initial"].items():
        assert torch.equal(found[name], table)


@pytest.mark.slow
def test_process_may_be_without_a_shard(runs: Runs) -> None:
    """Of three processes, two have halves of each table's columns."""
    parts = sharded("table_column_wise", "adagrad", "parts", save_at=(7,), processes=3)
    assert_same(runs(parts), runs(alone("adagrad")))
    plan = Plan.from_json(runs(parts)["plan"])
    assert all(len(table.shards) == 2 for table in plan.tables)
    found, expected = (checkpoint(runs.checkpoint(case)) for case in (parts, saved("column_wise")))
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert torch.allclose(value, expected[name], rtol=0, atol=1e-6), name


def checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint with the state of its tables' optimizer."""
    whole = AtomicCheckpointIO().load_checkpoint(path)
    states = whole["optimizer_states"][0]["state"]
    return whole["state_dict"] | {f"{n} state": s["sum"] for n, s in states.items() if n.startswith("tables.")}


@pytest.mark.slow
def test_two_nodes_of_two_processes_learn_what_one_process_does(runs: Runs) -> None:
    nodes = set()
    for kind in ("table_row_wise", "grid_shard", "row_wise", "column_wise", "table_column_wise"):
        expected, found = runs(alone()), runs(sharded(kind, name=f"nodes-{kind}", num_nodes=2))
        assert_same(found, expected)
        for name, table in found["initial"].items():
            assert torch.equal(table, expected["initial"][name])
        plan = Plan.from_json(found["plan"])
        assert (plan.devices, plan.per_node) == (4, 2)
        for planned in plan.tables:
            assert planned.sharding_type == kind
            ranks = [s.rank for s in planned.shards]
            if kind == "table_row_wise":
                assert sorted(ranks) in ([0, 1], [2, 3])
                nodes.add(ranks[0])
            if kind == "row_wise":
                assert sorted(ranks) == [0, 1, 2, 3]
            if kind == "grid_shard":
                assert len(ranks) == 4
                assert {s.columns for s in planned.shards} == {32}
    assert len(nodes) == 2
    first = sharded("grid_shard", "adagrad", "nodes-save", save_at=(7,), num_nodes=2)
    assert_same(runs(first), runs(alone("adagrad")))
    on = sharded("table_row_wise", "adagrad", "nodes-resumed", resume=first, num_nodes=2)
    assert_same(runs(on), runs(alone("adagrad")), begin=7)
