"""A run as one HTML file that needs no other: curves, images, texts, settings, environment, commands."""

import argparse
import io
from base64 import b64encode
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from sextant.atomic_folder import whole_file
from sextant.cli.reports.history import History, Points, read_history
from sextant.cli.reports.run_list import CONFIGURATION, RECORD, find_run
from sextant.errors import InputError
from sextant.files.json_file import read_json
from sextant.files.text_file import read_text

STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #8886 }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1rem }
figure { margin: 0 } figcaption { font-size: 13px; color: #888 } img { max-width: 100%; background: #fff }
pre { overflow-x: auto; background: #8882; padding: .7rem; font-size: 13px }
th { text-align: left; font-weight: normal; color: #888; padding-right: 1.5rem; vertical-align: top }
"""
#: Texts on TensorBoard that the page has from the run's folder.
OWN = (f"run/{CONFIGURATION}", f"run/{RECORD}")
#: Nothing is loaded from anywhere.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def report(words: Sequence[str]) -> None:
    """Write a run as a page.

    Args:
        words: the arguments: the run, and ``--logs=FOLDER``, ``--output=FILE``.

    Raises:
        InputError: there is no such run, or what it kept is damaged.
        SystemExit: the arguments are others.
    """
    parser = argparse.ArgumentParser("train.py report", description=__doc__)
    parser.add_argument("run", help="the run, as workload/version_0 or its folder")
    parser.add_argument("--logs", default="logs", type=Path, help="the folder with the runs (default: logs)")
    parser.add_argument("--output", type=Path, help="the file (default: report.html in the run's folder)")
    arguments = parser.parse_args(words)
    folder = find_run(arguments.run, arguments.logs)
    output: Path = arguments.output or folder / "report.html"
    page = "\n".join(_page(folder))
    try:
        with whole_file(output) as part:
            part.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{output}: it cannot be written ({error.strerror}). Give another file with --output."
        ) from error
    print(f"{output}: {len(page.encode()) / 2**20:.1f} MB")


def _page(folder: Path) -> Iterator[str]:
    record, history = _record(folder / RECORD), read_history(folder)
    title = f"{record.get('name', folder.parent.name)}, {folder.name}"
    yield f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
    yield f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    yield f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>'
    yield f"<h1>{escape(title)}</h1>"
    commands = record.pop("commands", [])
    if record.get("data", {}).get("synthetic"):
        yield "<p><strong>Synthetic data: the figures say nothing about the real data.</strong></p>"
    yield from _table(record)
    yield from _curves(history)
    if history.images:
        yield '<h2>Images</h2><div class="charts">'
        yield from (_figure(tag, "png", image) for tag, image in history.images.items())
        yield "</div>"
    texts = {tag: text for tag, text in history.texts.items() if tag not in OWN}
    if texts:
        yield "<h2>Texts</h2>"
        yield from (f"<details><summary>{escape(tag)}</summary>{_pre(text)}</details>" for tag, text in texts.items())
    for number, command in enumerate(commands, 1):
        yield f"<h2>Command {number} of {len(commands)}</h2>{_pre(str(command.pop('command', '-')))}"
        yield from _table(command)
    if (folder / CONFIGURATION).exists():
        text = read_text(folder / CONFIGURATION)
        yield f"<h2>Settings</h2><details><summary>{CONFIGURATION}</summary>{_pre(text)}</details>"
    yield "</body></html>\n"


def _record(file: Path) -> dict[str, Any]:
    record = read_json(file) if file.exists() else {}
    parts = [record, record.get("data", {}), *record.get("commands", [])] if isinstance(record, dict) else [None]
    if not all(isinstance(part, dict) for part in parts):
        raise InputError(f"{file}: it is no record of a run; it may be damaged. Delete it to have a page without.")
    return record


def _table(values: dict[str, Any]) -> Iterator[str]:
    yield "<table>"
    for key, value in values.items():
        yield f"<tr><th>{escape(key)}</th><td>{escape(_text(value))}</td></tr>"
    yield "</table>"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name} {_text(each)}" for name, each in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _curves(history: History) -> Iterator[str]:
    charts = history.charts or {"Curves": {tag: [tag] for tag in history.scalars}}
    for group, titles in charts.items():
        drawn = {title: {tag: history.scalars[tag] for tag in history.tags_of(tags)} for title, tags in titles.items()}
        if any(drawn.values()):
            yield f'<h2>{escape(group)}</h2><div class="charts">'
            yield from (_figure(title, "svg+xml", _chart(lines)) for title, lines in drawn.items() if lines)
            yield "</div>"


def _chart(lines: dict[str, Points]) -> bytes:
    """Lines over the steps, as SVG."""
    from matplotlib.figure import Figure  # takes a second to import

    figure = Figure((5, 3.2), layout="constrained")
    axes = figure.subplots()
    for tag, points in lines.items():
        marker = "." if len(points) < 30 else None  # so that a single point is seen too
        axes.plot(*zip(*points, strict=True), label=tag, marker=marker, linewidth=1.5)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def _figure(title: str, kind: str, image: bytes) -> str:
    data = b64encode(image).decode()
    name = escape(title)
    return f'<figure><img alt="{name}" src="data:image/{kind};base64,{data}"><figcaption>{name}</figcaption></figure>'


def _pre(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"
