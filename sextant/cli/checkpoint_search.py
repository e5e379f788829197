"""The checkpoint that ``--ckpt_path`` means: a path, or the best or the last one of the newest run."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from sextant.checkpoint_files import LAST, PREVIOUS, main_file, restore_interrupted
from sextant.errors import InputError
from sextant.files.location import Location, changed, location
from sextant.resume.checkpoint_io import AtomicCheckpointIO


def find_checkpoint(
    meant: str, folder: Location | None, is_meant: Callable[[Location], bool] | None = None
) -> tuple[Location, dict[str, Any]] | None:
    """Find a checkpoint, and read it.

    Where the last one of the newest run is damaged, the one before it is taken, with a warning; or the newest other
    one of that run.

    Args:
        meant: a path or URL, ``last``, ``best``, or ``auto``: the last one of those runs that ``is_meant``.
        folder: where the runs of the workload are; None if there is none.
        is_meant: for ``auto``, whether the folder of a run is that of one to go on with; all are if not given.

    Returns:
        Its path, and what it holds but for sharded tables; None where ``auto`` finds none.

    Raises:
        InputError: there is none, none that can be read, or the place of the runs does not answer.
    """
    try:
        return _find(meant, folder, is_meant)
    except OSError as error:
        raise InputError(f"--ckpt_path={meant}: cannot look for it under {folder} ({error}).") from error


def _find(
    meant: str, folder: Location | None, is_meant: Callable[[Location], bool] | None
) -> tuple[Location, dict[str, Any]] | None:
    if meant not in ("last", "best", "auto"):
        path = location(meant)
        restore_interrupted(path)
        return path, _read(path)
    name = "best.ckpt" if meant == "best" else LAST
    runs: list[Location] = [] if folder is None else list(folder.glob("*/checkpoints"))
    for run in runs:
        restore_interrupted(run / name)
    found = [path for run in runs if (path := run / name).exists()]
    if meant == "auto":
        found = [path for path in found if is_meant is None or is_meant(path.parent.parent)]
        if not found:
            return None
    if not found:
        raise InputError(
            f"--ckpt_path={meant}: there is no {meant}.ckpt of a run under {folder}. "
            "Start a new run without --ckpt_path, or give the path of a checkpoint."
        )
    path = max(found, key=changed)
    try:
        return path, _read(path)
    except InputError as error:
        if path.name != LAST:
            raise
        return _other_than(path, error)


def _other_than(damaged: Location, error: InputError) -> tuple[Location, dict[str, Any]]:
    """The previous checkpoint of a run whose last one is damaged, or the newest other one that can be read."""
    beside: Iterable[Location] = damaged.parent.glob("*.ckpt")
    others = [path for path in beside if path != damaged and not path.name.startswith(".")]
    others.sort(key=lambda path: (path.name == PREVIOUS, changed(path)), reverse=True)
    for path in others:
        try:
            checkpoint = _read(path)
        except InputError:
            continue
        step = checkpoint.get("global_step")
        rank_zero_warn(f"{damaged} is damaged, so {path}, of step {step}, is taken in its place. ({error})")
        return path, checkpoint
    names = ", ".join(path.name for path in others)
    also = f"Nor can {names} beside it be read." if others else "There is no other one beside it."
    raise InputError(f"{error} {also}") from error


def _read(path: Location) -> dict[str, Any]:
    """Read a checkpoint; of sharded tables it is only looked whether their files are there."""
    checkpoint = AtomicCheckpointIO().load_checkpoint(str(main_file(path)))
    if isinstance(path, Path) and path.is_dir():
        from sextant.strategies.sharded_checkpoint import check_tables  # which takes TorchRec

        check_tables(path, checkpoint)
    return checkpoint
