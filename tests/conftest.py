"""Data in the real on-disk formats, made once per session.

What takes long to import is imported by the fixtures: the process that only shares the tests out does without.
"""

import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.mutations import TIMES, TRIED
from tests.small_data import MAKERS
from tests.workloads.workload import CONFIGS, Workload

M_TRIM_THRESHOLD = -1  # of glibc's malloc.h

# CI tries the same examples each time; on a developer's machine Hypothesis goes on looking for new ones. No example
# fails because the machine is busy.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("developer", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "developer")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the commands of a file run, one after the other, as a user's do."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["train.py"])
        yield folder


@pytest.fixture(scope="module")
def memory_kept_again() -> Iterator[None]:
    """After tests that measure memory, let the C library keep what is freed: the others take a quarter longer else."""
    from sextant.memory import M_MMAP_THRESHOLD

    yield
    library = ctypes.CDLL(None)
    for parameter, most in ((M_MMAP_THRESHOLD, 2**25), (M_TRIM_THRESHOLD, 2**26)):  # which it comes to by itself
        library.mallopt(parameter, most)


@pytest.fixture
def usual_signals() -> Iterator[None]:
    """Signals do what they usually do, also where the tests were started with some ignored, as by nohup."""
    before = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
    }
    for number in before:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def _fixture_of(name: str) -> Callable[..., Path]:
    @pytest.fixture(scope="session", name=name)
    def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
        return MAKERS[name](tmp_path_factory.mktemp(name))

    made.__doc__ = MAKERS[name].__doc__
    return made


for _name in MAKERS:
    globals()[_name] = _fixture_of(_name)


def pytest_configure() -> None:
    """Compute in one thread, also in the processes that tests start: the tests run in as many as there are cores."""
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell has it for what it starts in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Prepare the process that has imported everything for its tests."""
    if torch := sys.modules.get("torch"):
        # Tensors without content, as an export has them, make torch believe in a GPU; the first gradients after that
        # start a thread for it, and no fork could compute any.
        torch.ones(1, requires_grad=True).sum().backward()
    gc.freeze()  # the garbage collector passes over the million objects that imports have made


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many damaged files were tried, where that was asked for."""
    if TIMES > 1:
        terminalreporter.section(f"{TRIED.total():,} damaged files")
        for test, count in sorted(TRIED.items()):
            terminalreporter.write_line(f"{count:7,} {test}")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--configs", type=Path, default=CONFIGS, help="the folder of the workloads that tests/workloads runs"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file in one process, which makes what they share once; those of a workload have their own.

    What measures memory comes first, since it would find room in the gaps that other tests leave; then the workloads,
    whose runs take longest.
    """
    first = ("measures_memory", "xdist_group")
    items.sort(key=lambda item: [item.get_closest_marker(name) is None for name in first])
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


@pytest.fixture(scope="session")
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[str]]:
    """The arguments by which a command runs a workload on small data, by the name of its file in ``configs``."""
    folder = tmp_path_factory.mktemp("small")

    def arguments(name: str, predicting: bool = False) -> list[str]:
        workload = Workload(request.config.getoption("--configs") / f"{name}.yaml")
        return workload.write_small(request.getfixturevalue, folder, predicting)

    return arguments
