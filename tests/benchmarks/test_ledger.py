"""The ledger of results: every row is whole, and its command can be pasted at its commit."""

import csv
import inspect
import io
import itertools
import re
import shlex
import subprocess
import tarfile
from functools import cache
from pathlib import Path

import pytest
from lightning.pytorch import Trainer

ROOT = Path(__file__).resolve().parent.parent.parent
COLUMNS = [
    "workload",
    "configuration",
    "command",
    "note",
    "commit",
    "hardware",
    "data",
    "metric",
    "value",
    "reference",
    "reference_source",
    "seconds",
    "peak_memory_mb",
]
MAY_BE_EMPTY = {"note", "reference", "reference_source", "seconds", "peak_memory_mb"}
METRIC = re.compile(
    r"(train|val|test|throughput|trainer_overhead|language_model|dynamic_batching|speech_training|click_log"
    r"|sharded_training|visual_questions|segmentation|export)/[a-z][a-z0-9_]*"
)
#: Variables and uv's environment may come first.
PROGRAM = re.compile(
    r"([A-Z_]+=\S+ )*(uv run (--group \w+ )?)?"
    r"(make (?P<target>[a-z-]+)|python (train\.py (?P<command>[a-z]+)|-m benchmarks\.(?P<module>[a-z_]+)))"
    r"(?P<options>( .*)?)"
)
COMMANDS = {"fit", "validate", "test", "predict", "export", "plan"}


def read() -> list[list[str]]:
    with (ROOT / "benchmarks" / "results.csv").open(newline="", encoding="ascii") as file:
        return list(csv.reader(file))


ROWS = [dict(zip(COLUMNS, fields, strict=False)) for fields in read()[1:]]
EACH_ROW = pytest.mark.parametrize("row", ROWS, ids=[f"line {i}: {row['metric']}" for i, row in enumerate(ROWS, 2)])


def is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?([eE][-+]?\d+)?", text) is not None


def test_every_row_has_the_columns_that_the_header_names_and_the_readme_explains() -> None:
    header, *rows = read()
    assert header == COLUMNS
    assert [i for i, fields in enumerate(rows, 2) if len(fields) != len(COLUMNS)] == []
    _, _, table = (ROOT / "benchmarks" / "README.md").read_text().partition("| column | what it holds |")
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == COLUMNS


@EACH_ROW
def test_row_is_whole(row: dict[str, str]) -> None:
    assert all(row[name] for name in COLUMNS if name not in MAY_BE_EMPTY)
    assert row["data"] in ("real", "synthetic")
    assert METRIC.fullmatch(row["metric"])
    assert re.fullmatch(r"[0-9a-f]{7,40}", row["commit"])
    assert is_number(row["value"])
    assert all(is_number(row[name]) for name in ("reference", "seconds", "peak_memory_mb") if row[name])
    assert bool(row["reference"]) == bool(row["reference_source"])


def programs(row: dict[str, str]) -> list[re.Match[str]]:
    """The programs of a command, which come one after the other."""
    found = [PROGRAM.fullmatch(part) for part in row["command"].split(" && ")]
    assert None not in found, "it begins neither with make nor with python train.py or python -m benchmarks"
    return [program for program in found if program is not None]


def options(program: re.Match[str]) -> list[tuple[str, list[str]]]:
    """The options of a program, without their dashes, and the values of each."""
    found: list[tuple[str, list[str]]] = []
    for word in shlex.split(program["options"]):
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            found.append((name, [value] if equals else []))
        else:
            assert found, f"{word!r} is no option"
            found[-1][1].append(word)
    return found


@EACH_ROW
def test_command_can_be_pasted(row: dict[str, str]) -> None:
    wrong = re.search(r"\.\.|[()\n;|<>$`\\]", row["command"])
    assert wrong is None, "prose goes into the note, and nothing is left out"
    for program in programs(row):
        given = options(program)
        if program["target"]:
            assert given == []
        if program["command"]:
            assert program["command"] in COMMANDS
            assert [name for name, values in given if len(values) != 1] == [], "each option has one value"


@cache
def files(commit: str) -> dict[str, str]:
    """The sources and configurations of a commit, by their paths."""
    made = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(made)) as archive:
        return {
            member.name: io.TextIOWrapper(file, encoding="utf-8").read()
            for member in archive
            if member.name.endswith((".py", ".yaml", "Makefile")) and (file := archive.extractfile(member))
        }


@cache
def words(commit: str) -> set[str]:
    """The names in the sources and configurations of a commit, and those of the Trainer's own settings."""
    own = inspect.signature(Trainer).parameters
    return {*own, *itertools.chain.from_iterable(re.findall(r"\w+", text) for text in files(commit).values())}


@pytest.fixture(scope="module")
def history() -> None:
    """Skip where the checkout does not have the commits of before."""
    asked = subprocess.run(
        ["git", "rev-parse", "--is-shallow-repository"], cwd=ROOT, check=False, capture_output=True, text=True
    )
    if asked.returncode or asked.stdout.strip() != "false":
        pytest.skip("the checkout has no history")


@EACH_ROW
def test_commit_has_the_program_configurations_and_options_of_the_command(history: None, row: dict[str, str]) -> None:
    commit = row["commit"]
    there = files(commit)
    configurations = [] if row["configuration"] == "-" else row["configuration"].split(" + ")
    for program in programs(row):
        given = options(program)
        if program["target"]:
            assert re.search(rf"^{program['target']}:", there["Makefile"], re.MULTILINE)
        elif program["module"]:
            source = there[f"benchmarks/{program['module']}.py"]
            shared = [there[f"benchmarks/{name}.py"] for name in re.findall(r"^from benchmarks\.(\w+)", source, re.M)]
            assert [name for name, _ in given if f'"--{name}"' not in "".join([source, *shared])] == []
        else:
            assert "train.py" in there
            assert [name for name, _ in given if not words(commit).issuperset(name.split("."))] == []
            configurations += [file for name, values in given if name == "config" for file in values]
    # A run writes its configuration itself.
    assert [file for file in configurations if file not in there and not file.startswith("logs/")] == []


def test_figures_of_the_readme_are_those_of_the_ledger() -> None:
    _, _, table = (ROOT / "README.md").read_text(encoding="utf-8").partition("| our best figure |")
    lines = [line.split("|")[1:-1] for line in table.partition("\n\n")[0].splitlines()[2:]]
    assert len(lines) == 6
    for _, configurations, figures, _ in lines:
        names = re.findall(r"`(\w+)`", configurations)
        rows = [row for row in ROWS if row["workload"] in names]
        for figure in re.findall(r"\d+\.\d+", figures):
            assert any(figure in (row["value"], row["reference"]) for row in rows), figure
        kinds = {row["data"] for row in rows if row["value"] in re.findall(r"\d+\.\d+", figures)}
        assert all(kind in figures for kind in kinds)
