"""Try random cases, and print what became of them: ``make faults N=300 SEED=0``."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from tqdm import tqdm

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

from tests.faults.cases import CONFIGS, Case, Workload, draw_case, random_cases
from tests.faults.table import table
from tests.faults.trial import Outcome, Trials
from tests.small_data import MAKERS


def main() -> int:
    """Run the command.

    Returns:
        Its exit code: 1 if a run did not end as the undisturbed one.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--count", type=int, default=300, help="how many faults")
    parser.add_argument("--seed", type=int, default=0, help="of the cases")
    parser.add_argument("--case", type=int, help="the number of the only case to try")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    trials = Trials(small_workloads(folder), folder)
    if arguments.case is None:
        cases = list(enumerate(random_cases(arguments.seed, arguments.count)))
    else:
        cases = [(arguments.case, draw_case(arguments.seed, arguments.case))]
    tried: list[tuple[Case, Outcome]] = []
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell takes from what runs in the background
    with suppress(KeyboardInterrupt):  # the table is of what was tried
        for number, case in tqdm(cases, unit="case", disable=None):
            outcome = trials.run(case)
            tried.append((case, outcome))
            report(number, case, outcome)
    print(f"\n{len(tried)} of {len(cases)} cases of seed {arguments.seed}:\n\n{table(tried)}")
    if any(outcome.wrong for _, outcome in tried):
        print(f"\nThe runs that differ are in {folder}.")
        return 1
    shutil.rmtree(folder)
    return 0 if len(tried) == len(cases) else 128 + signal.SIGINT


def small_workloads(folder: Path) -> Callable[[str], list[str]]:
    """What gives the arguments by which a command runs a workload on small data, which is made when it is needed.

    Args:
        folder: for the data.
    """

    @cache
    def place(name: str) -> Path:
        (folder / name).mkdir()
        return MAKERS[name](folder / name)

    return cache(lambda name: Workload(CONFIGS / f"{name}.yaml").write_small(place, folder))


def report(number: int, case: Case, outcome: Outcome) -> None:
    """Print what became of a case, above the progress bar."""
    faults = [f"{'resumed' if struck.resumed else 'began again'}, {struck.lost} lost" for struck in outcome.struck]
    end = "DIFFERENT" if outcome.wrong else "identical"
    lines = [f"{number}: {case}: {'; '.join(faults) or 'not struck'}: {end}", *outcome.wrong[:20]]
    tqdm.write("\n    ".join(lines))


if __name__ == "__main__":
    sys.exit(main())
