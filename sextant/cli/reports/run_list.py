"""The runs in a folder, and in which settings two of them differ. It imports nothing that takes long."""

import argparse
import json
import os
import platform
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sextant.errors import InputError

RECORD = "run.json"
CONFIGURATION = "config.yaml"


def list_runs(words: Sequence[str]) -> None:
    """Print the runs, or in which settings two of them differ.

    Args:
        words: the arguments: ``--logs=FOLDER``, and the folders of two runs or none.

    Raises:
        InputError: there is no such folder.
        SystemExit: the arguments are others.
    """
    parser = argparse.ArgumentParser("train.py runs", description=__doc__)
    parser.add_argument("run", nargs="*", help="two runs, as workload/version_0, whose settings are compared")
    parser.add_argument("--logs", default="logs", type=Path, help="the folder with the runs (default: logs)")
    arguments = parser.parse_args(words)
    if len(arguments.run) not in (0, 2):
        parser.error(f"give two runs to compare, or none to list all; given are {len(arguments.run)}")
    logs: Path = arguments.logs
    print("\n".join(_differences(*(_settings(run, logs) for run in arguments.run)) if arguments.run else _table(logs)))


def _table(logs: Path) -> Iterator[str]:
    if not logs.is_dir():
        raise InputError(f"{logs}: there is no such folder. Runs are in logs, or in what --logs names.")
    runs: dict[str, list[Path]] = {}
    for folder in sorted(logs.glob("*/*"), key=lambda folder: (folder.parent.name, folder.stat().st_mtime)):
        if (folder / CONFIGURATION).exists() or (folder / RECORD).exists():
            runs.setdefault(folder.parent.name, []).append(folder)
    if not runs:
        yield f"There are no runs in {logs}."
    for workload, folders in runs.items():
        yield workload
        cells = [_cells(folder) for folder in folders]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for row in cells:
            yield f"  {'  '.join(map(str.ljust, row, widths)).rstrip()}"


def _cells(folder: Path) -> list[str]:
    """Name, when and for how long, commit, epochs, best value, state and size of a run."""
    megabytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20
    size = f"{megabytes:,.0f} MB"
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        commands = record["commands"]
        last = commands[-1]
        began = datetime.fromisoformat(commands[0]["began"]).astimezone().strftime("%Y-%m-%d %H:%M")
        seconds = round(sum(command.get("seconds", 0) for command in commands))
        commit = f"{last['commit'] or '-'}{'' if last['clean'] else '*'}"
        best = record.get("best")
        value = f"{best['metric']} {best['value']:.4g}" if best else "-"
        took = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        return [folder.name, began, took, commit, f"{record.get('epochs', 0)} epochs", value, _state(last), size]
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return [folder.name, "-", "-", "-", "-", "-", "not known", size]


def _state(command: dict[str, Any]) -> str:
    """The state of a run: that of its last command, of which a killed one could not say that it ended."""
    state: str = command["state"]
    if state != "running" or command.get("host") != platform.node():
        return state
    stat = Path(f"/proc/{command['pid']}/stat")
    if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z":  # it has ended, and nobody has looked
        return "killed"
    try:
        os.kill(command["pid"], 0)
    except PermissionError:
        return state
    except OSError:
        return "killed"
    return state


def _differences(first: dict[str, Any], second: dict[str, Any]) -> Iterator[str]:
    names = [name for name in {**first, **second} if first.get(name) != second.get(name)]
    if not names:
        yield "They have the same settings."
    width = max(map(len, names), default=0)
    for name in names:
        yield f"{name:{width}}  {first.get(name, '-')}  ->  {second.get(name, '-')}"


def _settings(run: str, logs: Path) -> dict[str, Any]:
    """The settings of a run by their full names."""
    import yaml

    return dict(_flat("", yaml.safe_load((find_run(run, logs) / CONFIGURATION).read_text(encoding="utf-8"))))


def find_run(run: str, logs: Path) -> Path:
    """The folder of a run.

    Args:
        run: its workload and version, or its folder.
        logs: the folder with the runs.

    Raises:
        InputError: there is none.
    """
    for folder in (logs / run, Path(run)):
        if (folder / CONFIGURATION).is_file():
            return folder
    raise InputError(f"{run}: there is no {CONFIGURATION} in {logs / run}. train.py runs lists the runs.")


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(prefix if key == "init_args" else f"{prefix}.{key}" if prefix else str(key), inner)
    elif isinstance(value, list) and value and all(isinstance(each, dict) and "class_path" in each for each in value):
        for each in value:  # callbacks and the like, of which each has a name of its own
            name = f"{prefix}.{each['class_path'].rpartition('.')[2]}"
            yield name, "there"
            yield from _flat(name, each.get("init_args") or "there")
    else:
        yield prefix, value
