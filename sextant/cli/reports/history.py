"""What a run logged: values by step, images, texts, and which values share a chart."""

import csv
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sextant.errors import InputError
from sextant.files.text_file import sized_lines

Points = list[tuple[float, float]]
#: As TensorBoard's Custom Scalars keep their layout.
LAYOUT = "custom_scalars__config__"
TEXT = "/text_summary"
COUNTERS = {"epoch", "step"}  # which CSVLogger writes beside the metrics


@dataclass
class History:
    """What a run logged.

    Args:
        scalars: step (or epoch) and value of each point, by tag.
        images: the last image of each tag, as PNG.
        texts: the last text of each tag.
        charts: the patterns of the tags of each chart, by chart and group of charts; empty if the run had no layout.
    """

    scalars: dict[str, Points] = field(default_factory=dict)
    images: dict[str, bytes] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    charts: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def tags_of(self, patterns: list[str]) -> list[str]:
        """The tags of a chart.

        Args:
            patterns: of the chart.
        """
        return [tag for tag in self.scalars if any(re.match(pattern, tag) for pattern in patterns)]


def read_history(folder: Path) -> History:
    """Read what TensorBoard's or the CSV logger kept in a run's folder.

    Args:
        folder: of the run. Without such files, nothing was logged here.

    Raises:
        InputError: a file is damaged.
    """
    if any(folder.glob("events.out.tfevents.*")):
        return _of_tensorboard(folder)
    return _of_csv(folder / "metrics.csv") if (folder / "metrics.csv").exists() else History()


def _of_tensorboard(folder: Path) -> History:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # takes seconds to import

    events: Any = EventAccumulator(str(folder), {"scalars": 0, "images": 1, "tensors": 1}).Reload()
    tags = events.Tags()
    texts = {tag: _last(events, tag) for tag in tags["tensors"] if tag.endswith(TEXT)}
    return History(
        {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in tags["scalars"]},
        {tag: events.Images(tag)[-1].encoded_image_string for tag in tags["images"]},
        {tag.removesuffix(TEXT): text.decode(errors="replace") for tag, text in texts.items()},
        _charts(_last(events, LAYOUT)) if LAYOUT in tags["tensors"] else {},
    )


def _last(events: Any, tag: str) -> bytes:
    content: bytes = events.Tensors(tag)[-1].tensor_proto.string_val[0]
    return content


def _charts(layout: bytes) -> dict[str, dict[str, list[str]]]:
    from tensorboard.plugins.custom_scalar.layout_pb2 import Layout

    groups = Layout.FromString(layout).category
    return {group.title: {chart.title: list(chart.multiline.tag) for chart in group.chart} for group in groups}


def _of_csv(file: Path) -> History:
    scalars: dict[str, Points] = {}
    rows = csv.DictReader(line for line, _ in sized_lines(file))
    try:
        for row in rows:
            for tag, value in row.items():
                if tag not in COUNTERS and value:
                    scalars.setdefault(tag, []).append((float(row["step"]), float(value)))
    except (ValueError, TypeError, KeyError, csv.Error) as error:  # no number, too many or too few columns, no step
        raise InputError(
            f"{file}:{rows.line_num}: it is no row of a log ({error}); it may be damaged. Delete the line, or the file "
            "to have a page without curves."
        ) from error
    return History(scalars)
