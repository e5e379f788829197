"""What the tests of the workloads share: each workload with its runs."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.workloads.runs import Run, Runner
from tests.workloads.workload import Workload, workloads
from train import main


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give tests the workloads of the folder, of which those that share a model with one before are slow."""
    configs = metafunc.config.getoption("--configs")
    first: list[Workload] = []
    further: list[Workload] = []
    for workload in workloads(configs):
        (further if workload.model in {other.model for other in first} else first).append(workload)
    if "workload" in metafunc.fixturenames:
        given = []
        for workload in (*first, *further):
            marks = [pytest.mark.xdist_group(workload.name), *([] if workload in first else [pytest.mark.slow])]
            given.append(pytest.param(workload, id=workload.name, marks=marks))
        metafunc.parametrize("workload", given, scope="session")
    if "base_workload" in metafunc.fixturenames:
        given = [pytest.param(each, id=each.name, marks=pytest.mark.xdist_group(each.name)) for each in first]
        metafunc.parametrize("base_workload", given)
    if "further_workload" in metafunc.fixturenames:
        metafunc.parametrize("further_workload", further, ids=lambda workload: workload.name)
    if "synthetic" in metafunc.fixturenames:
        metafunc.parametrize("synthetic", sorted(configs.glob("synthetic/*.yaml")), ids=lambda file: file.stem)


@pytest.fixture(scope="session")
def runner(workload: Workload, small: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """Runs of the workload, as short as shows that it goes on after a kill in its second epoch."""
    return Runner(workload, small(workload.name), tmp_path_factory.mktemp(workload.name), epochs=2)


@pytest.fixture(scope="session")
def longer(workload: Workload, small: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """Runs with one more epoch after that in which they are killed."""
    return Runner(workload, small(workload.name), tmp_path_factory.mktemp(workload.name), epochs=3)


@pytest.fixture(scope="session")
def whole(runner: Runner) -> Run:
    """A run of one process that nothing disturbed."""
    return runner.whole()


@pytest.fixture
def command(
    workload: Workload, small: Callable[..., list[str]], whole: Run, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Run a command with the best checkpoint of the whole run, in its folder."""
    monkeypatch.chdir(whole.folder)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    quiet = ["--ckpt_path=best", "--data.num_workers=0", "--trainer.enable_progress_bar=false"]

    def run(name: str, *more: str) -> Any:
        return main([name, *small(workload.name, predicting=name == "predict"), *quiet, *more])

    return run
