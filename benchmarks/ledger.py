"""Rows of the ledger, made from what runs keep of themselves."""

import argparse
import csv
import shlex
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from sextant.atomic_folder import whole_file
from sextant.cli.reports.run_list import RECORD, find_run
from sextant.errors import InputError
from sextant.files.json_file import read_json

LEDGER = Path(__file__).parent / "results.csv"


def row(record: dict[str, Any], metric: str | None = None) -> dict[str, Any]:
    """A row of the ledger, without what only a person knows: note and reference.

    Args:
        record: of a run, as in its ``run.json``.
        metric: whose value is taken: of the last ``validate`` or ``test`` that measured it, or else the best one in
            training, which is also taken where no metric is given.

    Raises:
        InputError: the run has no such figure, did not end, or nobody could repeat it: files differed from their
            commit, or its commands were run at several commits.
    """
    trained, evaluations, best = record["commands"], record.get("evaluations", []), record.get("best") or {}
    values = {best["metric"]: best["value"]} if best else {}
    metric = metric or best.get("metric")
    commands = list(trained)
    for evaluation in evaluations:
        if metric in evaluation["metrics"]:
            commands = [*trained, evaluation]
        values |= evaluation["metrics"]
    if metric not in values:
        raise InputError(f"the run has no {metric or 'best value'}. It has {', '.join(sorted(values)) or 'none'}.")
    if trained[-1]["state"] != "finished":
        raise InputError(f"the run is {trained[-1]['state']}. A row stands for one that has finished.")
    if not all(command["clean"] for command in commands):
        raise InputError("files differed from their commit, so nobody could repeat the run. Commit, and run again.")
    if len(commits := sorted({command["commit"] for command in commands})) > 1:
        raise InputError(f"its commands were run at several commits, {', '.join(commits)}. A row has one.")
    return {
        "workload": record["name"],
        "configuration": " + ".join(_configurations(trained[0]["command"])),
        "command": " && ".join(_as_pasted(command["command"]) for command in commands),
        "commit": commits[0],
        "hardware": trained[-1]["machine"],
        "data": "synthetic" if record["data"]["synthetic"] else "real",
        "metric": metric,
        "value": f"{values[metric]:.4g}",
        "seconds": round(sum(command["seconds"] for command in trained)),
        "peak_memory_mb": max(command["peak"].get("memory_mb", 0) for command in trained) or "",
    }


def append(file: Path, new: dict[str, Any]) -> str:
    """Append a row to the ledger, as a whole or not at all.

    Args:
        file: the ledger.
        new: the row; columns that it lacks stay empty.

    Returns:
        The line.
    """
    text = file.read_text(encoding="ascii")
    columns = next(csv.reader(text.splitlines()))
    with whole_file(file) as part, part.open("w", encoding="ascii", newline="") as opened:
        opened.write(text)
        csv.DictWriter(opened, columns, lineterminator="\n").writerow(new)
    return file.read_text(encoding="ascii")[len(text) :]


def _configurations(command: str) -> list[str]:
    """The files of a command, whether they are said with an equals sign or without."""
    words = shlex.split(command.replace("--config=", "--config "))
    return [file for option, file in pairwise(words) if option == "--config"]


def _as_pasted(command: str) -> str:
    """A command as it is typed in the project's folder."""
    python, program, *words = shlex.split(command)
    return shlex.join([python, Path(program).name, *words])


def main(words: Sequence[str] | None = None) -> None:
    """Append a run to the ledger, as the command says."""
    parser = argparse.ArgumentParser("python -m benchmarks.ledger", description=__doc__)
    parser.add_argument("run", help="the run, as workload/version_0 or its folder")
    parser.add_argument("--logs", default="logs", type=Path, help="the folder with the runs (default: logs)")
    parser.add_argument("--metric", help="such as test/accuracy; the best value of the training if not given")
    parser.add_argument("--note", default="", help="what the commands do not say, such as what ran beside")
    parser.add_argument("--reference", default="", help="the figure to compare with")
    parser.add_argument("--reference_source", default="", help="where that is from")
    arguments = parser.parse_args(words)
    if bool(arguments.reference) != bool(arguments.reference_source):
        parser.error("give both --reference and --reference_source, or none")
    file = find_run(arguments.run, arguments.logs) / RECORD
    said = {key: getattr(arguments, key) for key in ("note", "reference", "reference_source")}
    try:
        print(append(LEDGER, row(read_json(file), arguments.metric) | said), end="")
    except InputError as error:
        sys.exit(f"error: {file}: {error}")
    except (KeyError, TypeError, IndexError) as error:
        sys.exit(f"error: {file}: it is no record of a run ({error!r}); it may be damaged.")


if __name__ == "__main__":
    main()
