"""Runs resume under any other plan and number of processes, and one table is read into any shards."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torchrec.modules.embedding_configs import PoolingType

from sextant.errors import InputError
from sextant.strategies.embedding_tables import table_configs
from sextant.strategies.sharded_tables import LocalShard, LocalTable, StateKind, Table
from sextant.strategies.table_plan import Shard, TablePlan
from sextant.strategies.table_reader import TableReader
from tests.sextant.strategies.sharded_runs import Case, Runs, alone, assert_same, saved, sharded

ADAGRADS = ("adagrad", "row_wise_adagrad")
ONE_QUICK = ["adagrad", pytest.param("row_wise_adagrad", marks=pytest.mark.slow)]
NAME = "tables.embedding_bags.t.weight"
ROWS, DIM = 5, 12
WEIGHT = torch.arange(60.0).reshape(ROWS, DIM)
MESH: Any = None  # not used where a file is read


def resumed(old: str, new: str, optimizer: str = "adagrad") -> Case:
    """A run under one plan that resumes from the seventh step of a run under another."""
    return sharded(new, optimizer, f"{optimizer}-{old}-to-{new}", resume=saved(old, optimizer))


def with_reset(name: str, kind: str, optimizer: str) -> Case:
    """A run that resumes with new optimizer states."""
    settings = {"sharding_types": [kind], "reset_optimizer_state": True}
    return Case(name, settings, optimizer, resume=saved("row_wise", "row_wise_adagrad"))


@pytest.mark.parametrize("optimizer", ONE_QUICK)
@pytest.mark.parametrize("kind", ["row_wise", "column_wise"])
def test_run_resumes_bit_by_bit_under_the_same_plan(runs: Runs, optimizer: str, kind: str) -> None:
    assert_same(runs(resumed(kind, kind, optimizer)), runs(saved(kind, optimizer)), tolerance=0, begin=7)


@pytest.mark.parametrize(
    ("old", "new", "optimizer"),
    [
        *(
            pytest.param(*kinds, optimizer, marks=[pytest.mark.slow] * (optimizer != "adagrad"))
            for kinds in (("row_wise", "data_parallel"), ("data_parallel", "row_wise"))
            for optimizer in ADAGRADS
        ),
        ("row_wise", "column_wise", "adagrad"),
        ("column_wise", "row_wise", "adagrad"),
    ],
)
def test_run_resumes_under_another_plan(runs: Runs, old: str, new: str, optimizer: str) -> None:
    assert_same(runs(resumed(old, new, optimizer)), runs(alone(optimizer)), begin=7)


def three_processes(optimizer: str) -> Case:
    """A run of three processes that resumes from one of two."""
    rows = saved("row_wise", optimizer)
    return sharded("table_wise", optimizer, f"{optimizer}-three", save_at=(13,), resume=rows, processes=3)


def one_process(optimizer: str) -> Case:
    """A run without sharding that resumes from one of two processes."""
    return alone(optimizer, name=f"{optimizer}-one", save_at=(13,), resume=saved("row_wise", optimizer))


@pytest.mark.parametrize("optimizer", ONE_QUICK)
@pytest.mark.parametrize("other", [pytest.param(three_processes, marks=pytest.mark.slow), one_process])
def test_run_resumes_with_another_number_of_processes(runs: Runs, optimizer: str, other: Any) -> None:
    expected, case = runs(alone(optimizer)), other(optimizer)
    assert_same(runs(case), expected, begin=7)
    assert runs.checkpoint(case).is_dir() == (other is three_processes)  # a folder only where there are shards
    for kind in ("row_wise", "data_parallel"):
        back = sharded(kind, optimizer, f"{case.name}-to-{kind}", resume=case)
        assert_same(runs(back), expected, begin=13)


def test_run_of_one_process_resumes_with_split_columns(runs: Runs) -> None:
    back = sharded("column_wise", "adagrad", "one-to-column_wise", resume=one_process("adagrad"))
    assert_same(runs(back), runs(alone("adagrad")), begin=13)


@pytest.mark.slow
@pytest.mark.parametrize(
    "old", [saved("row_wise", "row_wise_adagrad"), one_process("row_wise_adagrad")], ids=lambda case: case.name
)
def test_state_of_whole_rows_is_not_made_into_that_of_parts(runs: Runs, old: Case) -> None:
    error = runs(sharded("column_wise", "row_wise_adagrad", f"{old.name}-to-columns", resume=old))["error"]
    assert "the optimizer state of table tables.embedding_bags.large.weight does not fit" in error
    assert "begin at [0], those of this plan at [0, 32]" in error
    assert "--trainer.strategy.init_args.reset_optimizer_state=true" in error


@pytest.mark.slow
def test_state_is_reset_where_that_is_asked_for(runs: Runs) -> None:
    whole = runs(saved("row_wise", "row_wise_adagrad"))
    reset = runs(with_reset("reset", "column_wise", "row_wise_adagrad"))
    assert reset["losses"][0] == pytest.approx(whole["losses"][7], abs=1e-6)
    assert reset["rates"] == whole["rates"][7:]
    # The first steps after it are as long as those of a new run.
    assert abs(reset["losses"][3] - whole["losses"][10]) > 1e-4
    other = runs(with_reset("other-optimizer-reset", "row_wise", "adagrad"))
    assert abs(other["losses"][3] - whole["losses"][10]) > 1e-4


def test_state_of_another_optimizer_is_refused(runs: Runs) -> None:
    old = saved("row_wise", "row_wise_adagrad")
    error = runs(sharded("row_wise", "adagrad", "other-optimizer", resume=old))["error"]
    assert "it was kept by rows, and the sparse optimizer of this run keeps it by cells" in error
    assert "reset_optimizer_state=true" in error


def test_checkpoint_of_other_tables_is_refused(runs: Runs) -> None:
    old = saved("row_wise", "row_wise_adagrad")
    error = runs(sharded("row_wise", "row_wise_adagrad", "other-tables", resume=old, extra_table=True))["error"]
    assert "extra" in error


def test_state_of_parts_of_columns_becomes_that_of_whole_rows(runs: Runs) -> None:
    """Half of the columns is 32, so that a row's state is the mean of two."""
    columns = saved("column_wise", "row_wise_adagrad")
    found, before = runs(resumed("column_wise", "row_wise", "row_wise_adagrad")), runs(columns)
    assert "error" not in found
    assert found["losses"][0] == pytest.approx(before["losses"][7], abs=1e-6)
    assert found["losses"] == pytest.approx(before["losses"][7:], abs=2e-2)  # nearly the same optimizer
    # As near to it as a run of one process from the same checkpoint, which has the same state.
    expected = runs(alone("row_wise_adagrad", name="columns-to-one", resume=columns))
    assert found["losses"] == pytest.approx(expected["losses"], abs=1e-6)
    for name, table in found["tables"].items():
        assert torch.allclose(table, expected["tables"][name], rtol=0, atol=1e-6)


def test_checkpoint_is_validated_under_any_plan(runs: Runs) -> None:
    old = saved("row_wise", "row_wise_adagrad")
    only: dict[str, Any] = {"optimizer": "row_wise_adagrad", "resume": old, "only_validate": True}
    expected = runs(alone(**{"name": "validate-alone", **only}))
    found = runs(sharded("column_wise", name="validate", **only))
    assert found["val_losses"] == pytest.approx(expected["val_losses"], abs=1e-6)
    for name, table in found["tables"].items():
        assert torch.equal(table, expected["tables"][name])


def test_rates_resume_where_they_were(runs: Runs) -> None:
    """After seven steps they are those of the eighth, and go on from there: for the tables and for the rest."""
    wanted = [[0.1 * 0.9**step, 0.1 * 0.95**step] for step in range(7, 20)]
    for case in (
        resumed("row_wise", "row_wise"),
        resumed("row_wise", "data_parallel"),
        three_processes("adagrad"),
        one_process("adagrad"),
    ):
        assert torch.allclose(torch.tensor(runs(case)["rates"]), torch.tensor(wanted), rtol=1e-6, atol=0)


def table_of(
    rectangles: list[tuple[int, int, int, int]], kind: StateKind, sharding_type: str = "column_wise"
) -> LocalTable:
    """A table of which this process has rectangles: first row, first column, rows, columns."""
    (config,) = table_configs({"t": ROWS}, DIM, PoolingType.SUM)
    shards = [Shard(0, *rectangle, "rank:0/cpu") for rectangle in rectangles]
    local = [
        LocalShard(
            row,
            column,
            torch.full((rows, columns), torch.nan),
            None if kind == "none" else torch.full((rows, columns if kind == "cells" else 1), torch.nan),
        )
        for row, column, rows, columns in rectangles
    ]
    return LocalTable(Table(NAME, config, kind, True), TablePlan("tables", "t", sharding_type, "fused", shards), local)


def file_checkpoint(kept: torch.Tensor | None) -> dict[str, Any]:
    state = {} if kept is None else {NAME: {"sum": kept, "step": torch.tensor(9.0)}}
    return {"state_dict": {NAME: WEIGHT.clone(), "w": torch.ones(2)}, "optimizer_states": [{"state": state}]}


def reader(tmp_path: Path, checkpoint: dict[str, Any], reset: bool = False) -> TableReader:
    file = tmp_path / "file.ckpt"
    file.touch()
    return TableReader(file, checkpoint, [NAME], reset)


@pytest.mark.parametrize("kind", ["none", "cells", "rows"])
@pytest.mark.parametrize(
    "rectangles", [[(0, 0, 3, DIM)], [(1, 0, 2, DIM), (4, 0, 1, DIM)], [(5, 0, 0, DIM)], []], ids=str
)
def test_rows_of_a_file_are_sharded(
    tmp_path: Path, kind: StateKind, rectangles: list[tuple[int, int, int, int]]
) -> None:
    kept = {"none": None, "cells": torch.rand(ROWS, DIM), "rows": torch.rand(ROWS, 1)}[kind]
    checkpoint = file_checkpoint(kept)
    table = table_of(rectangles, kind, "row_wise") if rectangles else table_of([(0, 0, ROWS, DIM)], kind)
    if not rectangles:
        table.shards.clear()  # a process that has none of it
    assert not reader(tmp_path, checkpoint).read([table], MESH, optimizer=True)
    for shard in table.shards:
        rows = slice(shard.row, shard.row + len(shard.weight))
        assert torch.equal(shard.weight, WEIGHT[rows])
        if kept is not None:
            assert shard.state is not None
            assert torch.equal(shard.state, kept[rows])
    # What is read here is not read again as a part of the model.
    assert list(checkpoint["state_dict"]) == ["w"]
    assert not checkpoint["optimizer_states"][0]["state"]


def test_columns_of_a_file_are_sharded_with_the_state_of_cells(tmp_path: Path) -> None:
    kept = torch.rand(ROWS, DIM)
    table = table_of([(0, 0, ROWS, 4), (2, 4, 3, 8)], "cells")
    reader(tmp_path, file_checkpoint(kept)).read([table], MESH, optimizer=True)
    for shard, (rows, columns) in zip(
        table.shards, [(slice(0, 5), slice(0, 4)), (slice(2, 5), slice(4, 12))], strict=True
    ):
        assert shard.state is not None
        assert torch.equal(shard.weight, WEIGHT[rows, columns])
        assert torch.equal(shard.state, kept[rows, columns])


def test_state_of_replicated_tables_is_returned(tmp_path: Path) -> None:
    kept = torch.rand(ROWS, 1)
    table = table_of([(0, 0, ROWS, DIM)], "rows", "data_parallel")
    found = reader(tmp_path, file_checkpoint(kept)).read([table], MESH, optimizer=True)
    assert torch.equal(found[NAME], kept)
    assert torch.equal(table.shards[0].weight, WEIGHT)


def test_state_of_whole_rows_is_not_split_but_reset_if_asked_for(tmp_path: Path) -> None:
    table = table_of([(0, 0, ROWS, 4), (0, 4, ROWS, 8)], "rows")
    with pytest.raises(InputError, match=r"begin at \[0\], those of this plan at \[0, 4\].*reset_optimizer_state=true"):
        reader(tmp_path, file_checkpoint(torch.rand(ROWS, 1))).read([table], MESH, optimizer=True)
    reader(tmp_path, file_checkpoint(torch.rand(ROWS, 1)), reset=True).read([table], MESH, optimizer=True)
    for shard in table.shards:
        assert shard.state is not None
        assert (shard.state == 0).all()
        assert torch.equal(shard.weight, WEIGHT[:, shard.column : shard.column + shard.weight.shape[1]])


def test_evaluation_reads_no_optimizer_state(tmp_path: Path) -> None:
    table = table_of([(0, 0, ROWS, 4), (0, 4, ROWS, 8)], "rows")
    reader(tmp_path, file_checkpoint(None)).read([table], MESH, optimizer=False)
    assert torch.equal(table.shards[1].weight, WEIGHT[:, 4:])
    assert table.shards[0].state is not None
    assert table.shards[0].state.isnan().all()


def test_table_that_is_missing_or_of_another_size_is_named(tmp_path: Path) -> None:
    table = table_of([(0, 0, ROWS, DIM)], "none")
    with pytest.raises(InputError, match=f"has no table {NAME}"):
        reader(tmp_path, {"state_dict": {}}).read([table], MESH, optimizer=False)
    with pytest.raises(InputError, match=rf"table {NAME} is 6 x 12, the model's is 5 x 12"):
        reader(tmp_path, {"state_dict": {NAME: torch.zeros(6, 12)}}).read([table], MESH, optimizer=False)
