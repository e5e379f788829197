"""Folders as tests look at them, and files that broke off."""

from pathlib import Path


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
