"""The files of a checkpoint: which they are, what they may hold, and how one replaces another atomically."""

import shutil
from contextlib import suppress
from pathlib import Path

import torch

MAIN_FILE = "checkpoint.ckpt"  # in a folder that is a checkpoint: everything but what several processes wrote

# What torch.load(weights_only=True) gives back without further permission.
PLAIN_TYPES = {str, bytes, int, float, complex, bool, type(None), torch.Size, torch.dtype, torch.device}


def find_not_plain(value: object, where: str = "checkpoint") -> str | None:
    """Name the first entry of a nested value that is neither a tensor nor a plain value.

    Args:
        value: nested dictionaries, lists, tuples and sets.
        where: the name of ``value`` itself.

    Returns:
        The path to the entry with its type, or None if everything is plain.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            if found := find_not_plain(key, f"a key of {where}") or find_not_plain(item, f"{where}[{key!r}]"):
                return found
        return None
    if isinstance(value, list | tuple | set):
        for i, item in enumerate(value):
            if found := find_not_plain(item, f"{where}[{i}]"):
                return found
        return None
    if isinstance(value, torch.Tensor) or type(value) in PLAIN_TYPES:  # a subclass of str or float is not plain
        return None
    return f"{where} ({type(value).__module__}.{type(value).__qualname__})"


def main_file(path: Path) -> Path:
    """The file of a checkpoint that has its settings: itself, or one in it if it is a folder of sharded tables."""
    return path / MAIN_FILE if path.is_dir() else path


def restore_interrupted(path: Path) -> None:
    """Give a checkpoint its name back, where its replacement was killed halfway."""
    old = path.with_name(f".{path.name}.old")
    if old.exists() and not path.exists():
        with suppress(FileNotFoundError):  # another process of the run was faster
            old.rename(path)


def replace_atomically(part: Path, path: Path) -> None:
    """Give a whole checkpoint its name, and remove the folder or file that had it.

    A kill in between leaves the previous one as ``.<name>.old``, which :func:`restore_interrupted` finds.
    """
    old = path.with_name(f".{path.name}.old")
    restore_interrupted(path)  # of a run that was killed in here: it is removed only where there is another one
    remove(old)
    if path.exists():
        path.rename(old)
    part.rename(path)
    remove(old)


def remove(path: Path) -> None:
    """Remove a checkpoint, so that a kill leaves no half of it under its name."""
    if path.is_dir():
        doomed = path.with_name(f".{path.name}.removed")
        shutil.rmtree(doomed, ignore_errors=True)
        path.rename(doomed)
        shutil.rmtree(doomed)
    else:
        path.unlink(missing_ok=True)
