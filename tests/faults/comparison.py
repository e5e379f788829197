"""In what two runs differ: all that their checkpoints hold, and their logs point by point."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sextant.resume.checkpoint_io import AtomicCheckpointIO

#: Entries of a checkpoint that say how often a run was begun, how its data was loaded, and how long its log is; and the
#: value of the last validation, which Lightning does not restore, and which nothing reads.
FREE = re.compile(
    r"^\w+\.log\.|\.loops\.\w+\.epoch_loop\.val_loop\.batch_progress|\.configuration\.data\.init_args\.num_workers"
    r"|\.current_score"
)
#: What the log has of the clock.
CLOCK = ("throughput/", "run/")
#: What each command says at its start, where a run that was gone on with says it again.
AT_THE_START = re.compile("model/tables|tables/plan|_hparams_|custom_scalars")
#: The folder of a run that was begun again, since nothing of it had been saved, is the next one.
VERSION = re.compile(r"\bversion_\d+\b")


def run_folder(folder: Path) -> Path:
    """The folder of the run whose last checkpoint is the newest, of those of the commands that ran in a folder."""
    found = folder.glob("logs/*/*/checkpoints/last.ckpt")
    return max(found, key=lambda path: path.stat().st_mtime).parent.parent


def differences(a: Path, b: Path) -> list[str]:
    """What differs between two runs, given by their folders."""
    found: list[str] = []
    for name in ("last", "best"):
        loaded = [AtomicCheckpointIO().load_checkpoint(run / "checkpoints" / f"{name}.ckpt") for run in (a, b)]
        found += _different(loaded[0], loaded[1], name)
    points = [points_of_log(run) for run in (a, b)]
    found += _different(points[0], points[1], "log")
    left = [file.name for file in (b / "checkpoints").iterdir() if file.name.startswith(".")]
    return found + [f"left behind: {name}" for name in left]


def points_of_log(run: Path) -> dict[str, Any]:
    """Steps and values of everything in a log, but for the times and the speed."""
    kept = {"scalars": 0, "tensors": 0, "images": 0, "histograms": 0}
    board = EventAccumulator(str(run), kept).Reload()
    points: dict[str, Any] = {}
    for kind, read in (("scalars", board.Scalars), ("tensors", board.Tensors), ("images", board.Images)):
        for tag in board.Tags()[kind]:
            if not tag.startswith(CLOCK):
                # Two files of one second are not read in the order in which they were begun.
                found = sorted(read(tag), key=lambda point: point.wall_time)
                values = [(point.step, _value(point)) for point in found]
                points[f"{kind} {tag}"] = values[-1][1:] if AT_THE_START.match(tag) else values
    return points


def _value(point: Any) -> Any:
    if hasattr(point, "value"):
        return point.value
    return point.encoded_image_string if hasattr(point, "encoded_image_string") else str(point.tensor_proto)


def _different(a: Any, b: Any, where: str) -> Iterator[str]:
    if FREE.search(where):
        return
    if type(a) is not type(b):
        yield f"{where}: {type(a).__name__}, {type(b).__name__}"
    elif isinstance(a, dict):
        a, b = ({VERSION.sub("", key) if isinstance(key, str) else key: v for key, v in d.items()} for d in (a, b))
        for key in a.keys() ^ b.keys():
            if not FREE.search(f"{where}.{key}"):
                yield f"{where}: only one has {key!r}"
        for key in a.keys() & b.keys():
            yield from _different(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        if len(a) != len(b):
            yield f"{where}: {len(a)} entries, {len(b)} entries"
        for i, (old, new) in enumerate(zip(a, b, strict=False)):
            yield from _different(old, new, f"{where}[{i}]")
    elif isinstance(a, torch.Tensor):
        if (a.dtype, a.shape) != (b.dtype, b.shape) or not torch.equal(_bits(a), _bits(b)):
            yield f"{where}: other values"
    elif VERSION.sub("", repr(a)) != VERSION.sub("", repr(b)):
        yield f"{where}: {str(a)[:80]!r}, {str(b)[:80]!r}"


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)
