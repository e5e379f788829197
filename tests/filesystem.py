"""Folders as tests look at them, and files that broke off."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest


def listing(folder: Path) -> list[str]:
    """Everything under a folder, hidden or not, without the lock files."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix != ".lock")


def snapshot(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Mode, length and time of change of a folder and of everything under it."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        stat = path.lstat()
        found[str(path.relative_to(folder))] = (stat.st_mode, stat.st_size, stat.st_mtime_ns)
    return found


def cut_in_half(file: Path) -> None:
    """Leave the first half of a file, as a download that broke off does."""
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def require_synced(path: Path, write: Callable[[], object]) -> None:
    """Require that a file has reached the disk before it has its name, and then its name has.

    Args:
        path: the file.
        write: writes it, once or more.
    """
    fsync, replace = os.fsync, os.replace
    done: list[tuple[str, int, int]] = []

    def synced(handle: int) -> None:
        stat = os.fstat(handle)
        done.append(("on the disk", stat.st_ino, stat.st_size if os.path.isfile(f"/proc/self/fd/{handle}") else 0))  # noqa: PTH113
        fsync(handle)

    def renamed(source: Path, target: Path) -> None:
        if Path(target) == path:
            done.append(("named", Path(source).stat().st_ino, Path(source).stat().st_size))
        replace(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", synced)
        patch.setattr(os, "replace", renamed)
        write()
    file = (path.stat().st_ino, path.stat().st_size)
    named = done.index(("named", *file))
    assert ("on the disk", *file) in done[:named]
    assert ("on the disk", path.parent.stat().st_ino, 0) in done[named:]
