"""Trials: the quick tests that may be expected to notice a fault run on a copy of the project that has it."""

import importlib
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from tests.mutants.mutant import ROOT, Mutant

#: Seconds after which tests hang, by which a fault is noticed too.
TIMEOUT = 400
#: What takes long to import, and is the same for all mutants.
LIBRARIES = (
    *(
        "torch",
        "torchvision",
        "torchaudio",
        "torchmetrics",
        "lightning.pytorch",
        "torchrec",
        "transformers",
        "datasets",
    ),
    *("hypothesis", "jsonargparse", "pyarrow.parquet", "matplotlib.figure", "tensorboard.backend.event_processing"),
)


def import_libraries() -> None:
    """Import what the forks of this process need beside the project."""
    for name in LIBRARIES:
        importlib.import_module(name)


class ProjectCopy:
    """A copy of the project's files, in which faults can be tried one after the other.

    This process imports nothing of the project but the trials: its forks import it from the copy.

    Args:
        folder: for the copy, which is made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writes = 0
        names = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
        for name in filter(None, names.stdout.decode().split("\0")):
            if (ROOT / name).is_file():
                (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, self._folder / name)

    def noticed_by(self, mutant: Mutant) -> list[str]:
        """The first test that notices a fault; nothing if none does."""
        self._write(mutant.file, mutant.source())
        try:
            return self.failing(mutant.tests, only_first=True)
        finally:
            self._write(mutant.file, (ROOT / mutant.file).read_text(encoding="utf-8"))

    def failing(self, tests: Sequence[str], only_first: bool = False) -> list[str]:
        """The tests that fail.

        Args:
            tests: files, folders, or names of tests.
            only_first: leave out those after the first that fails.

        Raises:
            ValueError: there are no such tests.
        """
        context = multiprocessing.get_context("fork")
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=self._test, args=(tests, only_first, sender))
        process.start()
        sender.close()
        try:
            code, names = receiver.recv() if receiver.poll(TIMEOUT) else (None, ["the tests hang"])
        except EOFError:
            code, names = None, ["the tests crash"]
        finally:
            process.kill()
            process.join()
        if code in (pytest.ExitCode.NO_TESTS_COLLECTED, pytest.ExitCode.USAGE_ERROR):
            raise ValueError(f"{', '.join(tests)}: there are no such quick tests.")
        return names

    def _write(self, name: str, source: str) -> None:
        path = self._folder / name
        path.write_text(source, encoding="utf-8")
        self._writes += 1
        os.utime(path, (self._writes, self._writes))  # by which Python knows that what it has compiled is old

    def _test(self, tests: Sequence[str], only_first: bool, sender: Connection) -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
            del sys.modules[name]
        os.chdir(self._folder)
        os.environ["PYTHONPATH"] = str(self._folder)
        sys.path.insert(0, str(self._folder))
        failures = _Failures()
        with open(os.devnull, "w") as null:  # noqa: PTH123
            for stream in (1, 2):
                os.dup2(null.fileno(), stream)
        options = ["-q", "-n0", "-pno:cacheprovider", "--no-header", "-mnot slow", *["-x"] * only_first]
        code = pytest.main([*options, *tests], plugins=[failures])
        sender.send((int(code), failures.names))


class _Failures:
    """Notes which tests fail, for pytest."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.names.append(report.nodeid.partition("@")[0])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.names.append(report.nodeid)
