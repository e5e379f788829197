"""The page of results: the ledger, with the figures of one command together."""

import csv
import itertools
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

LEDGER = Path(__file__).resolve().parents[2] / "benchmarks" / "results.csv"
HEAD = """# Results

Every figure of the ledger, `benchmarks/results.csv`, as it was measured: by which command, at which commit, on what.
*Synthetic* data was generated, and says that a model learns, not how good it is. A reference is what stands in the row
beside the figure: another program in the same run, a bound, or a goal.

Not measured: the whole of Tiny-ImageNet, LibriSpeech, Pascal VOC, TextVQA and Criteo, and anything on a GPU. Seconds
are of machines that often did other work too. A command is to be run at its commit, since settings had other names at
times.
"""


def rows(ledger: Path = LEDGER) -> list[dict[str, str]]:
    """The rows of the ledger."""
    with ledger.open(newline="", encoding="ascii") as file:
        return list(csv.DictReader(file))


def group(figures: list[dict[str, str]]) -> str:
    """The figures of one command, and the command."""
    lines = ["| metric | value | reference, note |", "|---|---:|---|"]
    for row in figures:
        reference = f"{row['reference']} ({row['reference_source']})" if row["reference"] else ""
        lines.append(f"| `{row['metric']}` | {row['value']} | {'; '.join(filter(None, (reference, row['note'])))} |")
    row = figures[-1]
    took = f", {row['seconds']} s" if row["seconds"] else ""
    lines += ["", f'??? note "{row["data"]} data, commit {row["commit"]}, {row["hardware"]}{took}"']
    lines += ["    ```sh", f"    {row['command']}", "    ```", ""]
    return "\n".join(lines)


def page(figures: list[dict[str, str]]) -> str:
    """The page in Markdown."""
    parts = [HEAD]
    for workload in dict.fromkeys(row["workload"] for row in figures):
        of_workload = [row for row in figures if row["workload"] == workload]
        groups = itertools.groupby(of_workload, lambda row: (row["command"], row["commit"], row["data"]))
        parts += [f"## {workload}\n", *(group(list(same)) for _, same in groups)]
    return "\n".join(parts)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page."""
    files.append(File.generated(config, "results.md", content=page(rows())))
    return files
