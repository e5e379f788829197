"""Checkpoints of sharded runs are whole whatever happens: written at once or in the background, disk full, killed."""

import contextlib
import os
import random
import signal
import time
from collections.abc import Sequence
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import pytest
import torch

from sextant.checkpoint_files import main_file, restore_interrupted
from sextant.resume.checkpoint_io import AtomicCheckpointIO
from tests.ranks import Ranks, start_ranks
from tests.sextant.strategies.generated_clicks import TABLES
from tests.sextant.strategies.sharded_runs import DIM, LAST, Case, Runs, assert_same, saved, saved_steps, train

load = AtomicCheckpointIO().load_checkpoint


def rows(name: str, in_background: bool, **more: Any) -> Case:
    """A run with row-wise tables."""
    return Case(name, {"sharding_types": ["row_wise"], "async_checkpoints": in_background}, "adagrad", **more)


ASYNC = rows("async", True, save_at=(2, 3, 7))


@pytest.mark.slow
def test_checkpoint_in_the_background_holds_what_was_there_when_it_was_asked_for(runs: Runs) -> None:
    """Training went on while it was written; the one before it was replaced, and the last one is waited for."""
    at_once = saved("row_wise")
    now, later = (load(runs.checkpoint(case)) for case in (at_once, ASYNC))
    assert now["global_step"] == later["global_step"] == 7
    assert now["state_dict"].keys() == later["state_dict"].keys()
    for name, value in now["state_dict"].items():
        assert torch.equal(value, later["state_dict"][name]), name
    states = [checkpoint["optimizer_states"][0]["state"] for checkpoint in (now, later)]
    assert states[0].keys() == states[1].keys()
    for name, state in states[0].items():
        for key, value in state.items():
            assert torch.equal(value, states[1][name][key]), (name, key)
    whole, on = runs(at_once), rows("async-resumed", True, resume=ASYNC, save_at=(20,))
    assert_same(runs(ASYNC), whole, tolerance=0)
    assert_same(runs(on), whole, tolerance=0, begin=7)
    end = load(runs.checkpoint(on))
    for name, table in whole["tables"].items():
        assert torch.equal(end["state_dict"][f"tables.{name}"], table)


@pytest.mark.parametrize("case", [saved("row_wise"), ASYNC], ids=lambda case: case.name)
def test_checkpoint_holds_each_table_once_and_leaves_nothing_beside_it(runs: Runs, case: Case) -> None:
    path = runs.checkpoint(case)
    assert [file.name for file in path.parent.iterdir()] == [LAST]
    main = torch.load(str(main_file(path)), weights_only=True)
    assert not [key for key in main["state_dict"] if key.startswith("tables.")]
    assert not [key for key in main["optimizer_states"][0]["state"] if key.startswith("tables.")]
    size = sum(file.stat().st_size for file in (path / "tables").iterdir())
    cells = 4 * DIM * sum(TABLES.values())
    assert 2 * cells < size < 2.2 * cells  # the tables and the state of their optimizer


@pytest.mark.parametrize(
    "case",
    [rows("full", False, save_at=(3, 5), full_at=5), rows("full-async", True, save_at=(3, 5, 6), full_at=5)],
    ids=lambda case: case.name,
)
def test_full_disk_is_named_and_leaves_the_checkpoint_of_before(runs: Runs, case: Case) -> None:
    error, path = runs(case)["error"], runs.checkpoint(case)
    assert f"{path}: the tables of the checkpoint could not be written" in error
    assert "The previous one of that name is as it was." in error
    assert load(path)["global_step"] == 3


def train_apart(case: Case, folder: Path) -> None:
    """Run a case in a folder that this process alone sees, as the nodes of a cluster that share none."""
    own = folder / os.environ["LOCAL_RANK"]
    own.mkdir(parents=True)
    with contextlib.chdir(own):
        train(case, Path())


@pytest.mark.parametrize("in_background", [False, True], ids=["", "in_background"])
def test_folder_that_only_some_processes_see_is_refused(two_ranks: Ranks, tmp_path: Path, in_background: bool) -> None:
    two_ranks.run(train_apart, rows("apart", in_background, steps=2, save_at=(2,)), tmp_path)
    error = torch.load(tmp_path / "0" / "apart.pt", weights_only=True)["error"]
    assert f"apart/{LAST}: not every process sees this folder" in error
    assert not (tmp_path / "0" / "apart" / LAST).exists()


def kill(processes: Sequence[ForkProcess]) -> None:
    """Kill processes without a word: none can tidy up."""
    for process in processes:
        if process.pid is not None and process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
    for process in processes:
        process.join()


@pytest.mark.slow
@pytest.mark.parametrize("in_background", [False, True], ids=["", "in_background"])
def test_run_that_is_killed_while_it_saves_resumes_from_its_last_whole_checkpoint(
    runs: Runs, in_background: bool
) -> None:
    """It is killed again and again, and in the end has learned what an undisturbed run has."""
    steps, draw, log = 60, random.Random(), runs.folder / "killed_log"
    name = f"killed-{in_background}"
    expected = runs(rows(f"not-{name}", in_background, steps=steps, keep_steps=True))
    case = rows(name, in_background, steps=steps, save_at=range(1, steps + 1))
    path = runs.folder / case.checkpoint
    deadline, kills, reached = time.monotonic() + 240, 0, 0
    while True:
        assert time.monotonic() < deadline
        before = len(saved_steps(runs.folder, case)) + in_background  # then at least one is whole
        # It resumes from its own checkpoint, once there is one.
        again = rows(name, in_background, steps=steps, save_at=case.save_at, resume=case if reached else None)
        processes = start_ranks(train, [(again, runs.folder)] * 2, log)
        if kills < 4:
            while len(saved_steps(runs.folder, case)) <= before:
                assert time.monotonic() < deadline, log.read_text()
                assert all(process.is_alive() for process in processes), log.read_text()
                time.sleep(0.002)
            time.sleep(draw.uniform(0, 0.4))
            kill(processes)
            kills += 1
        else:
            for process in processes:
                process.join(120)
            assert [process.exitcode for process in processes] == [0, 0], log.read_text()
        restore_interrupted(path)
        step = load(path)["global_step"]
        # What was written before is not lost; in the background, the last one may not have been whole yet.
        assert step >= saved_steps(runs.folder, case)[-1] - in_background
        assert step >= reached
        first, reached = reached, step
        assert_tables_of_step(path, expected["steps"][step])
        if step == steps:
            break
    assert_same(torch.load(runs.folder / f"{name}.pt", weights_only=True), expected, tolerance=0, begin=first)
    assert [file.name for file in path.parent.iterdir()] == [LAST]


def assert_tables_of_step(path: Path, tables: dict[str, torch.Tensor]) -> None:
    found = load(path)["state_dict"]
    for name, table in tables.items():
        assert torch.equal(found[f"tables.{name}"], table), name
