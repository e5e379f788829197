"""Put each fault of the lists into the code, and say which ones the quick tests notice: ``make mutants``."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

from tests.mutants.mutant import Mutant, all_mutants
from tests.mutants.trial import ProjectCopy, import_libraries

#: The fraction of the faults that the tests must notice.
ENOUGH = 0.95


def main() -> int:
    """Run the command.

    Returns:
        Its exit code: 1 if too few faults are noticed.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="try only those that have this in their file's name or description")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="that try faults at the same time")
    arguments = parser.parse_args()
    mutants = [mutant for mutant in all_mutants() if arguments.only in str(mutant)]
    for mutant in mutants:
        mutant.source()  # none is out of date
    import_libraries()
    with TemporaryDirectory(prefix="mutants-") as folder:
        noticed = dict(zip(mutants, try_all(mutants, Path(folder), arguments.processes), strict=True))
        # A test that fails anyway notices nothing.
        tests = sorted({test for names in noticed.values() for test in names if "::" in test})
        failing = ProjectCopy(Path(folder) / "whole").failing(tests) if tests else []
    missed = [mutant for mutant, names in noticed.items() if not set(names) - set(failing)]
    print(f"\n{len(mutants) - len(missed)} of {len(mutants)} faults are noticed by the quick tests.")
    if failing:
        print("Fail without a fault:", *failing, sep="\n    ")
    if missed:
        print("Not noticed:", *missed, sep="\n    ")
    return 0 if len(mutants) - len(missed) >= ENOUGH * len(mutants) else 1


def try_all(mutants: Sequence[Mutant], folder: Path, processes: int) -> Iterator[list[str]]:
    """The first test that notices a fault, for each fault; nothing where none does.

    Args:
        mutants: the faults.
        folder: for copies of the project, of which each process has one.
        processes: that try faults at the same time.
    """
    with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool:
        found = pool.map(partial(_try, folder), mutants)
        for mutant, names in zip(mutants, tqdm(found, total=len(mutants), unit="fault", disable=None), strict=True):
            tqdm.write(f"{mutant}: {names[0] if names else 'NOT NOTICED'}")
            yield names


@cache
def _own_copy(folder: Path) -> ProjectCopy:
    return ProjectCopy(folder / str(os.getpid()))


def _try(folder: Path, mutant: Mutant) -> list[str]:
    return _own_copy(folder).noticed_by(mutant)


if __name__ == "__main__":
    sys.exit(main())
