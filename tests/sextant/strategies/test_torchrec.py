"""Sharded runs learn what unsharded ones do, go on under any other plan, and survive being killed."""

import itertools
import random
import re
import time
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from sextant.checkpoint_files import main_file, take_back
from sextant.resume.checkpoint_io import AtomicCheckpointIO
from sextant.strategies.table_plan import Allowed, Plan, ShardingType
from tests.launch import finish
from tests.sextant.strategies.sharded_runs import DIM, LAST, TABLES, Case, Results, kill, start

TYPES: tuple[str, ...] = get_args(ShardingType)
ADAGRADS = ("adagrad", "row_wise_adagrad")
#: Adagrad with a sum for each row is another optimizer where columns are cut.
OTHERS = [
    *(("adagrad", kind) for kind in ("row_wise", "column_wise", "grid_shard", "data_parallel")),
    *(("row_wise_adagrad", kind) for kind in ("table_wise", "row_wise", "table_row_wise", "data_parallel")),
]
PIPELINED = ("row_wise", "column_wise", "grid_shard")
MIXED = dict(zip(TABLES, ("row_wise", "column_wise", "table_wise", "data_parallel"), strict=True))


def only(kind: str, **more: Any) -> dict[str, Any]:
    return {"sharding_types": [kind], **more}


def mixed() -> dict[str, Any]:
    return {"tables": {name: Allowed([kind]) for name, kind in MIXED.items()}}  # type: ignore[list-item]


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "accumulate": ({}, {"accumulate_grad_batches": 2}, r"accumulate_grad_batches is 2.*Use 1, and a larger batch_size"),
    **{
        f"precision_{precision}": ({}, {"precision": precision}, rf"precision {precision} cannot be used.*bf16-mixed")
        for precision in ("16-true", "bf16-true", "64-true")
    },
    "unknown_table": ({"tables": {"nowhere": None}}, {}, r"there is no table 'nowhere'; there are large, odd, small"),
    "too_small": ({"memory_gb": 0.0001}, {}, r"table large does not fit.*bytes.*It fits with memory_gb="),
}


def first_cases() -> list[Case]:
    """For two processes: what needs no checkpoint of another number of processes."""
    cases = [Case(f"sgd-{kind}", only(kind)) for kind in TYPES]
    cases += [Case(f"{optimizer}-{kind}", only(kind), optimizer) for optimizer, kind in OTHERS]
    cases += [Case(f"mean-{kind}", only(kind), pooling="mean") for kind in ("row_wise", "column_wise")]
    cases += [
        Case("mixed", mixed(), "adagrad", save_at=(7,)),
        Case("mixed-on", mixed(), "adagrad", resume=ckpt("mixed")),
    ]
    cases += [Case(f"pipelined-{kind}", only(kind, pipelined=True), "adagrad", validate_every=3) for kind in PIPELINED]
    cases += [Case("clipped", only("row_wise"), trainer={"gradient_clip_val": 0.01})]
    cases += [Case("validated", only("row_wise"), "adagrad", validate_every=3)]
    cases += [Case("bf16", only("row_wise"), "adagrad", trainer={"precision": "bf16-mixed"})]
    for optimizer in ADAGRADS:
        cases += [
            Case(f"{optimizer}-save-{kind}", only(kind), optimizer, save_at=(7,))
            for kind in ("row_wise", "column_wise", "data_parallel")
        ]
        rows, columns = ckpt(f"{optimizer}-save-row_wise"), ckpt(f"{optimizer}-save-column_wise")
        cases += [
            Case(f"{optimizer}-rows-to-rows", only("row_wise"), optimizer, resume=rows),
            Case(f"{optimizer}-rows-to-columns", only("column_wise"), optimizer, resume=rows),
            Case(f"{optimizer}-rows-to-copies", only("data_parallel"), optimizer, resume=rows),
            Case(f"{optimizer}-columns-to-columns", only("column_wise"), optimizer, resume=columns),
            Case(f"{optimizer}-columns-to-rows", only("row_wise"), optimizer, resume=columns),
            Case(
                f"{optimizer}-copies-to-rows",
                only("row_wise"),
                optimizer,
                resume=ckpt(f"{optimizer}-save-data_parallel"),
            ),
        ]
    rows = ckpt("row_wise_adagrad-save-row_wise")
    cases += [
        Case("reset", only("column_wise", reset_sums=True), "row_wise_adagrad", resume=rows),
        Case("other-optimizer", only("row_wise"), "adagrad", resume=rows),
        Case("other-optimizer-reset", only("row_wise", reset_sums=True), "adagrad", resume=rows),
        Case("other-tables", only("row_wise"), "row_wise_adagrad", resume=rows, extra_table=True),
        Case("validate", only("column_wise"), "row_wise_adagrad", resume=rows, only_validate=True),
        Case("async", only("row_wise", async_checkpoints=True), "adagrad", save_at=(2, 3, 7)),
        Case("async-on", only("row_wise", async_checkpoints=True), "adagrad", resume=ckpt("async"), save_at=(20,)),
        Case("own-seeds", only("data_parallel"), own_seeds=True),
        Case("full", only("row_wise"), "adagrad", save_at=(3, 5), full_at=5),
        Case("full-async", only("row_wise", async_checkpoints=True), "adagrad", save_at=(3, 5, 6), full_at=5),
        Case("no-tables", only("row_wise"), other_model=True),
    ]
    for name, (strategy, trainer, _) in REFUSED.items():
        settings = {**strategy, "tables": {"nowhere": Allowed()}} if "tables" in strategy else strategy
        cases.append(Case(name, settings, trainer=trainer))
    return cases


def ckpt(name: str) -> str:
    return f"{name}/{LAST}"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """The runs of two processes."""
    folder = tmp_path_factory.mktemp("runs")
    finish(start(first_cases(), folder, 2), folder / "log")
    return Results(folder)


@pytest.fixture(scope="module")
def moved(runs: Results) -> Results:
    """Runs of three processes and of one that go on from those of two, and such of two that go on from these."""
    there, back = [], []
    for optimizer in ADAGRADS:
        rows = ckpt(f"{optimizer}-save-row_wise")
        there.append(Case(f"{optimizer}-parts", only("table_column_wise"), optimizer, save_at=(7,)))
        there.append(Case(f"{optimizer}-three", only("table_wise"), optimizer, save_at=(13,), resume=rows))
        runs.alone(Case(f"{optimizer}-one", None, optimizer, save_at=(13,), resume=rows))
        back += [
            Case(f"{optimizer}-{old}-to-{new}", only(new), optimizer, resume=ckpt(f"{optimizer}-{old}"))
            for old, new in itertools.product(("three", "one"), ("row_wise", "data_parallel"))
        ]
    back.append(Case("adagrad-one-to-column_wise", only("column_wise"), "adagrad", resume=ckpt("adagrad-one")))
    back.append(Case("row_wise_adagrad-one-to-column_wise", only("column_wise"), "row_wise_adagrad", resume=rows))
    finish(start(there, runs.folder, 3), runs.folder / "log")
    finish(start(back, runs.folder, 2), runs.folder / "log")
    return runs


def assert_same(found: dict[str, Any], expected: dict[str, Any], tolerance: float = 1e-6, begin: int = 0) -> None:
    """The losses, rates, tables and the dense part are the same; those of the steps from the given one on."""
    assert "error" not in found, found["error"]
    assert len(found["losses"]) == len(expected["losses"]) - begin
    for name in ("losses", "rates"):
        assert torch.allclose(
            torch.tensor(found[name]), torch.tensor(expected[name][begin:]), rtol=0, atol=tolerance
        ), name
    for part in ("tables", "network"):
        assert found[part].keys() == expected[part].keys()
        for name, value in found[part].items():
            assert torch.allclose(value, expected[part][name], rtol=0, atol=tolerance), name


@pytest.mark.parametrize(
    "name", [*(f"sgd-{kind}" for kind in TYPES), *(f"{optimizer}-{kind}" for optimizer, kind in OTHERS)]
)
def test_sharded_tables_learn_what_whole_ones_do(runs: Results, name: str) -> None:
    optimizer, kind = name.split("-")
    expected = runs.alone(Case(optimizer, optimizer=optimizer))
    assert_same(runs[name], expected)
    # What is compared has moved by far more than what is allowed.
    for table, value in expected["tables"].items():
        assert (value - expected["initial"][table]).abs().max() > 1e-2
    plan = Plan.from_json(runs[name]["plan"])
    assert {table.sharding_type for table in plan.tables} == {kind}
    assert [table.name for table in plan.tables] == list(TABLES)


@pytest.mark.parametrize("kind", TYPES)
def test_model_begins_the_same_under_every_plan(runs: Results, kind: str) -> None:
    expected = runs.alone(Case("sgd"))["initial"]
    found = runs[f"sgd-{kind}"]["initial"]
    assert found.keys() == expected.keys()
    for name, table in found.items():
        assert torch.equal(table, expected[name])
    plan = Plan.from_json(runs[f"sgd-{kind}"]["plan"])
    shards = [
        found[f"embedding_bags.{table.name}.weight"][s.row : s.row + s.rows, s.column : s.column + s.columns]
        for table in plan.tables
        for s in (table.shards if kind != "data_parallel" else table.shards[:1])
        if s.rows
    ]
    starts = {tuple((shard / shard.abs().max()).flatten()[:4].tolist()) for shard in shards}
    assert len(starts) == len(shards)


@pytest.mark.parametrize("kind", ["row_wise", "column_wise"])
def test_means_of_values_are_learned_the_same(runs: Results, kind: str) -> None:
    expected = runs.alone(Case("mean", pooling="mean"))
    assert_same(runs[f"mean-{kind}"], expected)
    assert abs(expected["losses"][-1] - runs.alone(Case("sgd"))["losses"][-1]) > 1e-5


def test_each_table_may_be_cut_in_its_own_way(runs: Results) -> None:
    plan = Plan.from_json(runs["mixed"]["plan"])
    assert {table.name: table.sharding_type for table in plan.tables} == MIXED
    expected = runs.alone(Case("adagrad", optimizer="adagrad"))
    assert_same(runs["mixed"], expected)
    assert_same(runs["mixed-on"], expected, begin=7)


def test_gradients_are_clipped_as_without_sharding(runs: Results) -> None:
    expected = runs.alone(Case("clipped-alone", trainer={"gradient_clip_val": 0.01}))
    assert_same(runs["clipped"], expected)
    free = runs.alone(Case("sgd"))
    assert any((value - free["network"][name]).abs().max() > 1e-3 for name, value in expected["network"].items())


def test_validation_within_an_epoch_does_not_disturb_training(runs: Results) -> None:
    assert_same(runs["validated"], runs["adagrad-row_wise"], tolerance=0)
    alone = runs.alone(Case("validated-alone", optimizer="adagrad", validate_every=3))
    assert len(runs["validated"]["val_losses"]) == 6
    assert runs["validated"]["val_losses"] == pytest.approx(alone["val_losses"], abs=1e-6)
    assert len(set(alone["val_losses"])) == 6


@pytest.mark.parametrize("kind", PIPELINED)
def test_ids_that_are_exchanged_ahead_change_nothing_and_no_batch_is_lost(runs: Results, kind: str) -> None:
    """Also with validations within the epochs, whose batches come between."""
    assert_same(runs[f"pipelined-{kind}"], runs[f"adagrad-{kind}"], tolerance=0)
    assert runs[f"pipelined-{kind}"]["val_losses"] == pytest.approx(runs["validated"]["val_losses"], abs=1e-6)


def test_bf16_is_close_to_float32(runs: Results) -> None:
    expected = runs["adagrad-row_wise"]
    assert runs["bf16"]["losses"] == pytest.approx(expected["losses"], abs=0.02)
    assert runs["bf16"]["losses"] != expected["losses"]


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_go_wrong_silently_is_refused(runs: Results, name: str) -> None:
    found = runs[name]
    assert "error" in found, "it was not refused"
    assert re.search(REFUSED[name][2], found["error"]), found["error"]


def test_model_without_tables_is_refused(runs: Results) -> None:
    assert "BoringModel has no EmbeddingBagCollection" in runs["no-tables"]["error"]


@pytest.mark.parametrize("optimizer", ADAGRADS)
@pytest.mark.parametrize("kind", ["row_wise", "column_wise"])
def test_run_goes_on_bit_by_bit_under_the_same_plan(runs: Results, optimizer: str, kind: str) -> None:
    short = kind.removesuffix("_wise") if kind == "row_wise" else "column"
    assert_same(runs[f"{optimizer}-{short}s-to-{short}s"], runs[f"{optimizer}-save-{kind}"], tolerance=0, begin=7)


@pytest.mark.parametrize(
    "name",
    [
        *(f"{optimizer}-{way}" for optimizer in ADAGRADS for way in ("rows-to-copies", "copies-to-rows")),
        "adagrad-rows-to-columns",
        "adagrad-columns-to-rows",
    ],
)
def test_run_goes_on_under_another_plan(runs: Results, name: str) -> None:
    optimizer = name.split("-")[0]
    assert_same(runs[name], runs.alone(Case(optimizer, optimizer=optimizer)), begin=7)


@pytest.mark.parametrize("optimizer", ADAGRADS)
@pytest.mark.parametrize("name", ["three", "one"])
def test_run_goes_on_with_another_number_of_processes(moved: Results, optimizer: str, name: str) -> None:
    expected = moved.alone(Case(optimizer, optimizer=optimizer))
    assert_same(moved[f"{optimizer}-{name}"], expected, begin=7)
    path = moved.folder / f"{optimizer}-{name}" / LAST
    assert path.is_dir() == (name == "three")  # a folder only where there are shards
    for kind in ("row_wise", "data_parallel"):
        assert_same(moved[f"{optimizer}-{name}-to-{kind}"], expected, begin=13)


def test_process_may_be_without_a_shard(moved: Results) -> None:
    """Of three processes, two have halves of each table's columns."""
    assert_same(moved["adagrad-parts"], moved.alone(Case("adagrad", optimizer="adagrad")))
    plan = Plan.from_json(moved["adagrad-parts"]["plan"])
    assert all(len(table.shards) == 2 for table in plan.tables)
    checkpoint = AtomicCheckpointIO().load_checkpoint(moved.folder / ckpt("adagrad-parts"))
    expected = AtomicCheckpointIO().load_checkpoint(moved.folder / ckpt("adagrad-save-column_wise"))
    for name, value in checkpoint["state_dict"].items():
        assert torch.allclose(value, expected["state_dict"][name], rtol=0, atol=1e-6), name
    states = [c["optimizer_states"][0]["state"] for c in (checkpoint, expected)]
    for name, state in states[0].items():
        if name.startswith("tables."):
            assert torch.allclose(state["sum"], states[1][name]["sum"], rtol=0, atol=1e-6), name


def test_copies_begin_the_same_where_processes_have_seeds_of_their_own(runs: Results) -> None:
    found = runs["own-seeds"]["initial"]  # that all have the same is asserted where they are put together
    for name, table in runs.alone(Case("sgd"))["initial"].items():
        assert torch.equal(found[name], table)


def test_run_of_one_process_goes_on_with_columns(moved: Results) -> None:
    assert_same(moved["adagrad-one-to-column_wise"], moved.alone(Case("adagrad", optimizer="adagrad")), begin=13)


@pytest.mark.parametrize("name", ["row_wise_adagrad-rows-to-columns", "row_wise_adagrad-one-to-column_wise"])
def test_sums_of_whole_rows_are_not_made_into_those_of_parts(moved: Results, name: str) -> None:
    error = moved[name]["error"]
    assert "the state of the optimizer of table tables.embedding_bags.large.weight cannot be carried over" in error
    assert "begin at [0], those of this plan at [0, 32]" in error
    assert "--trainer.strategy.init_args.reset_sums=true" in error


def test_sums_are_reset_where_that_is_asked_for(runs: Results) -> None:
    whole = runs["row_wise_adagrad-save-row_wise"]
    assert runs["reset"]["losses"][0] == pytest.approx(whole["losses"][7], abs=1e-6)
    assert runs["reset"]["rates"] == whole["rates"][7:]
    # The first steps after it are as long as those of a new run.
    assert abs(runs["reset"]["losses"][3] - whole["losses"][10]) > 1e-4
    assert abs(runs["other-optimizer-reset"]["losses"][3] - whole["losses"][10]) > 1e-4


def test_sums_of_another_optimizer_are_refused(runs: Results) -> None:
    error = runs["other-optimizer"]["error"]
    assert "has sums of rows, and the sparse optimizer of this run sums cells" in error
    assert "reset_sums=true" in error


def test_checkpoint_of_other_tables_is_refused(runs: Results) -> None:
    assert "with a table of None rows for extra" in runs["other-tables"]["error"]


def test_sums_of_parts_of_columns_become_those_of_whole_rows(runs: Results) -> None:
    """Half of the columns is 32, so that a row's sum is the mean of two."""
    found = runs["row_wise_adagrad-columns-to-rows"]
    assert "error" not in found
    saved = runs["row_wise_adagrad-save-column_wise"]
    assert found["losses"][0] == pytest.approx(saved["losses"][7], abs=1e-6)
    assert found["losses"] == pytest.approx(saved["losses"][7:], abs=2e-2)  # nearly the same optimizer
    # As near to it as a run of one process from the same checkpoint, which has the same sums.
    expected = runs.alone(
        Case("columns-to-one", optimizer="row_wise_adagrad", resume=ckpt("row_wise_adagrad-save-column_wise"))
    )
    assert found["losses"] == pytest.approx(expected["losses"], abs=1e-6)
    for name, table in found["tables"].items():
        assert torch.allclose(table, expected["tables"][name], rtol=0, atol=1e-6)


def test_checkpoint_is_validated_under_any_plan(runs: Results) -> None:
    resume = ckpt("row_wise_adagrad-save-row_wise")
    expected = runs.alone(Case("validate-alone", optimizer="row_wise_adagrad", resume=resume, only_validate=True))
    assert runs["validate"]["val_losses"] == pytest.approx(expected["val_losses"], abs=1e-6)
    for name, table in runs["validate"]["tables"].items():
        assert torch.equal(table, expected["tables"][name])


def test_checkpoint_in_the_background_holds_what_was_there_when_it_was_asked_for(runs: Results) -> None:
    """Training went on while it was written; the one before it was replaced, and the last one is waited for."""
    now, later = (
        AtomicCheckpointIO().load_checkpoint(runs.folder / name / LAST) for name in ("adagrad-save-row_wise", "async")
    )
    assert now["global_step"] == later["global_step"] == 7
    assert now["state_dict"].keys() == later["state_dict"].keys()
    for name, value in now["state_dict"].items():
        assert torch.equal(value, later["state_dict"][name]), name
    states = [checkpoint["optimizer_states"][0]["state"] for checkpoint in (now, later)]
    assert states[0].keys() == states[1].keys()
    for name, state in states[0].items():
        for key, value in state.items():
            assert torch.equal(value, states[1][name][key]), (name, key)
    whole = runs["adagrad-save-row_wise"]
    assert_same(runs["async"], whole, tolerance=0)
    assert_same(runs["async-on"], whole, tolerance=0, begin=7)
    end = AtomicCheckpointIO().load_checkpoint(runs.folder / "async-on" / LAST)
    for name, table in whole["tables"].items():
        assert torch.equal(end["state_dict"][f"tables.{name}"], table)


def test_rates_go_on_where_they_were(runs: Results, moved: Results) -> None:
    """After seven steps they are those of the eighth, and go on from there: for the tables and for the rest."""
    wanted = [[0.1 * 0.9**step, 0.1 * 0.95**step] for step in range(7, 20)]
    for name in ("rows-to-rows", "rows-to-copies", "three", "one"):
        rates = moved[f"adagrad-{name}"]["rates"]
        assert torch.allclose(torch.tensor(rates), torch.tensor(wanted), rtol=1e-6, atol=0)


def test_checkpoint_holds_each_table_once_and_leaves_nothing_beside_it(runs: Results) -> None:
    for name in ("adagrad-save-row_wise", "async"):
        folder = runs.folder / name
        assert [file.name for file in folder.iterdir()] == [LAST]
        main = torch.load(main_file(folder / LAST), weights_only=True)
        assert not [key for key in main["state_dict"] if key.startswith("tables.")]
        assert not [key for key in main["optimizer_states"][0]["state"] if key.startswith("tables.")]
        size = sum(file.stat().st_size for file in (folder / LAST / "tables").iterdir())
        cells = 4 * DIM * sum(TABLES.values())
        assert 2 * cells < size < 2.2 * cells  # the tables and their sums


@pytest.mark.parametrize("name", ["full", "full-async"])
def test_full_disk_is_named_and_leaves_the_checkpoint_of_before(runs: Results, name: str) -> None:
    path = runs.folder / name / LAST
    assert f"{path}: the tables of the checkpoint could not be written" in runs[name]["error"]
    assert "The previous one of that name is as it was." in runs[name]["error"]
    assert AtomicCheckpointIO().load_checkpoint(path)["global_step"] == 3


@pytest.mark.slow
def test_two_nodes_of_two_processes_learn_what_one_process_does(tmp_path: Path) -> None:
    kinds = ("table_row_wise", "grid_shard", "row_wise", "column_wise", "table_column_wise")
    cases = [Case(kind, only(kind), optimizer="sgd") for kind in kinds]
    cases += [
        Case("save", only("grid_shard"), "adagrad", save_at=(7,)),
        Case("on", only("table_row_wise"), "adagrad", resume=ckpt("save")),
    ]
    finish(start(cases, tmp_path, 2, num_nodes=2), tmp_path / "log")
    runs = Results(tmp_path)
    nodes = set()
    for kind in kinds:
        expected = runs.alone(Case("sgd"))
        assert_same(runs[kind], expected)
        for name, table in runs[kind]["initial"].items():
            assert torch.equal(table, expected["initial"][name])
        plan = Plan.from_json(runs[kind]["plan"])
        assert (plan.devices, plan.per_node) == (4, 2)
        for table in plan.tables:
            assert table.sharding_type == kind
            ranks = [s.rank for s in table.shards]
            if kind == "table_row_wise":
                assert sorted(ranks) in ([0, 1], [2, 3])
                nodes.add(ranks[0])
            if kind == "row_wise":
                assert sorted(ranks) == [0, 1, 2, 3]
            if kind == "grid_shard":
                assert len(ranks) == 4
                assert {s.columns for s in table.shards} == {32}
    assert len(nodes) == 2
    assert_same(runs["save"], runs.alone(Case("adagrad", optimizer="adagrad")))
    assert_same(runs["on"], runs.alone(Case("adagrad", optimizer="adagrad")), begin=7)


@pytest.mark.slow
@pytest.mark.parametrize("in_background", [False, True], ids=["", "in_background"])
def test_run_that_is_killed_while_it_saves_goes_on_from_its_last_whole_checkpoint(
    tmp_path: Path, in_background: bool
) -> None:
    """It is killed again and again, and in the end has learned what an undisturbed run has."""
    steps = 60
    draw = random.Random()
    strategy = only("row_wise", async_checkpoints=in_background)
    runs = Results(tmp_path)
    finish(start([Case("whole", strategy, "adagrad", steps=steps, keep_steps=True)], tmp_path, 2), tmp_path / "log")
    expected = runs["whole"]
    path = tmp_path / "killed" / LAST
    case = Case("killed", strategy, "adagrad", steps=steps, save_at=range(1, steps + 1))
    deadline, kills, reached = time.monotonic() + 240, 0, 0
    while True:
        assert time.monotonic() < deadline
        before = len(runs.saved("killed")) + in_background  # then at least one is whole
        processes = start([case], tmp_path, 2)
        if kills < 4:
            while len(runs.saved("killed")) <= before:
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                assert all(process.is_alive() for process in processes), (tmp_path / "log").read_text()
                time.sleep(0.002)
            time.sleep(draw.uniform(0, 0.4))
            kill(processes)
            kills += 1
        else:
            finish(processes, tmp_path / "log")
        take_back(path)
        checkpoint = AtomicCheckpointIO().load_checkpoint(path)
        step = checkpoint["global_step"]
        # What was written before is not lost; in the background, the last one may not have been whole yet.
        assert step >= runs.saved("killed")[-1] - in_background
        assert step >= reached
        begin, reached = reached, step
        for name, table in expected["steps"][step].items():
            found = checkpoint["state_dict"][f"tables.{name}"]
            assert torch.equal(found, table), (name, step)
        if step == steps:
            break
        case = Case("killed", strategy, "adagrad", steps=steps, save_at=range(1, steps + 1), resume=ckpt("killed"))
    assert_same(runs["killed"], expected, tolerance=0, begin=begin)
    assert [file.name for file in path.parent.iterdir()] == [LAST]
