"""A seventh workload: four files in a folder of its own, nothing edited, and all workloads' tests pass for it.

Three of the files are those of docs/adding-a-workload.md.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.cases import chosen_cases
from tests.faults.trial import Trials
from tests.launch import finish, start
from tests.workloads.workload import Workload

ROOT = Path(__file__).resolve().parents[2]

PAGE = ROOT / "docs" / "adding-a-workload.md"
MODULE, DATA, CONFIG = re.findall(r"^```(?:python|yaml)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)

TEST = '''
"""House prices are learned up to their noise."""

import sys
from pathlib import Path

import house_prices
from train import main


def test_prices_are_learned_up_to_their_noise(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    config = Path(__file__).parent / "configs" / "house_prices.yaml"
    cli = main(["fit", f"--config={config}", "--trainer.enable_progress_bar=false"])
    assert cli.trainer.callback_metrics["val/error"] < 3 * house_prices.NOISE
'''


@pytest.fixture
def four_files(tmp_path: Path) -> Path:
    """The folder of the workload."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "price_regressor.py").write_text(MODULE)
    (tmp_path / "house_prices.py").write_text(DATA)
    (tmp_path / "configs" / "house_prices.yaml").write_text(CONFIG)
    (tmp_path / "test_house_prices.py").write_text(TEST)
    return tmp_path


def run_tests(folder: Path, *arguments: str) -> str:
    """Run pytest with the workloads of the folder, and return what it printed."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={folder / 'tests'}"]
    command += [f"--rootdir={ROOT}", f"--configs={folder / 'configs'}", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}
    for name in [name for name in environment if name.startswith("PYTEST")]:
        del environment[name]
    result = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_workload_of_four_files_is_killed_resumed_and_predicts(
    four_files: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(four_files)
    workload = Workload(four_files / "configs" / "house_prices.yaml")
    config = f"--config={workload.config}"
    trials = Trials(lambda name: [config], tmp_path_factory.mktemp("runs"))
    case = chosen_cases(workload)[0]
    outcome = trials.run(case)
    assert (outcome.wrong, len(outcome.struck)) == ([], 2)
    whole = trials.undisturbed(case.training)
    finish(
        [start(["predict", config, "--ckpt_path=best"], whole.folder, log=whole.folder / "log")], whole.folder / "log"
    )
    assert len((whole.folder / "predictions.csv").read_text().splitlines()) == 1 + 30


@pytest.mark.slow
def test_workload_of_four_files_passes_all_tests_of_the_workloads(four_files: Path) -> None:
    tests = [str(ROOT / "tests" / "workloads" / f"test_{name}.py") for name in ("alone", "two_processes")]
    tests += [f"{ROOT}/tests/faults/test_faults.py::test_run_that_goes_through_chosen_faults_ends_as_if_it_had_not"]
    output = run_tests(four_files, *tests, str(four_files / "test_house_prices.py"))
    assert "13 passed" in output
