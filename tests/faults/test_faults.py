"""Runs are struck at chosen moments, and the same command goes on with them: they end as if nothing had happened."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sextant.resume.checkpoint_io import AtomicCheckpointIO
from tests.faults.cases import Case, Fault, Training, chosen_cases, draw_case
from tests.faults.comparison import differences, run_folder
from tests.faults.table import table
from tests.faults.trial import Outcome, Struck, Trials
from tests.workloads.workload import CONFIGS, Workload, workloads

CONFORMER, DLRM, FLAVA, TRANSFORMER = (
    Workload(CONFIGS / f"{name}.yaml")
    for name in ("conformer_librispeech", "dlrm_criteo", "flava_textvqa", "transformer_wikitext2")
)
QUICK = [
    Case(
        Training(CONFORMER, every_n_steps=2),
        (Fault(signal.SIGKILL, "in a step", 0.7), Fault(signal.SIGHUP, "in a validation", 0.0, everyone=True)),
        num_workers=2,
    ),
    Case(
        Training(TRANSFORMER, schedule="plateau", options=("accumulated", "validated within")),
        (Fault(signal.SIGKILL, "before a rename", 0.6), Fault(signal.SIGKILL, "in a step")),
    ),
    Case(
        Training(FLAVA, schedule="epoch", options=("limited",)),
        (Fault(signal.SIGKILL, "end of an epoch", 0.9),),
    ),
    Case(
        Training(DLRM, options=("max_steps",)),
        (Fault(signal.SIGTERM, "between steps", 0.6),),
    ),
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give the chosen cases of the folder's workloads."""
    if "chosen" in metafunc.fixturenames:
        found = workloads(metafunc.config.getoption("--configs"))
        first = {workload.model: workload for workload in reversed(found)}.values()
        cases = [case for workload in first for case in chosen_cases(workload)]
        marks = [pytest.mark.xdist_group(case.training.workload.name) for case in cases]
        metafunc.parametrize("chosen", [pytest.param(c, marks=m, id=str(c)) for c, m in zip(cases, marks, strict=True)])


@pytest.fixture(scope="module")
def trials(small: Callable[[str], list[str]], tmp_path_factory: pytest.TempPathFactory) -> Trials:
    return Trials(small, tmp_path_factory.mktemp("faults"))


@pytest.mark.parametrize("case", QUICK, ids=str)
def test_struck_run_ends_as_if_it_had_not_been(trials: Trials, case: Case) -> None:
    outcome = trials.run(case)
    assert outcome.wrong == []
    assert [struck.fault for struck in outcome.struck] == list(case.faults)
    assert all(struck.resumed for struck in outcome.struck)


@pytest.mark.slow
def test_run_that_goes_through_chosen_faults_ends_as_if_it_had_not(trials: Trials, chosen: Case) -> None:
    outcome = trials.run(chosen)
    assert outcome.wrong == []
    assert outcome.struck


def test_comparison_finds_a_single_bit_a_point_of_the_log_and_what_was_left_behind(
    trials: Trials, tmp_path: Path
) -> None:
    whole = run_folder(trials.undisturbed(QUICK[-1].training).folder)
    other = tmp_path / "run"
    shutil.copytree(whole, other)
    assert differences(whole, other) == []
    last = other / "checkpoints" / "last.ckpt"
    checkpoint = AtomicCheckpointIO().load_checkpoint(last)
    name, weight = next((name, value) for name, value in checkpoint["state_dict"].items() if value.numel() > 1)
    weight.view(torch.int32).reshape(-1)[1] ^= 1
    AtomicCheckpointIO().save_checkpoint(checkpoint, last)
    (other / "checkpoints" / ".last.ckpt.old").touch()
    assert differences(whole, other) == [f"last.state_dict.{name}: other values", "left behind: .last.ckpt.old"]
    (log,) = other.glob("events*")
    log.write_bytes(log.read_bytes()[:1500])
    assert any(line.startswith("log") for line in differences(whole, other))


def test_random_case_is_a_function_of_the_seed_and_its_number() -> None:
    assert draw_case(3, 17) == draw_case(3, 17)
    assert len({str(draw_case(seed, number)) for seed in (0, 1) for number in range(20)}) == 40


def test_table_counts_faults_by_workload_and_kind() -> None:
    first, second = QUICK[0].faults
    tried = [
        (QUICK[0], Outcome([Struck(first, lost=2), Struck(second)])),
        (QUICK[1], Outcome([Struck(first, resumed=False, lost=3)], ["differs"])),
    ]
    lines = table(tried).splitlines()
    assert lines[0] == "|  | tried | resumed | identical | lost |"
    assert "| conformer_librispeech | 2 | 2 | 2 | 2 |" in lines
    assert "| transformer_wikitext2 | 1 | 0 | 0 | 3 |" in lines
    assert "| SIGKILL, in a step | 2 | 1 | 1 | 5 |" in lines
    assert lines[-1] == "| **all** | 3 | 2 | 2 | 5 |"
