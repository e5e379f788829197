"""The folder that may be meant where a data set's root is one level too high or too low."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

MOST = 200  # folders that are looked into


def near_root(root: Path, *patterns: str) -> str:
    """A sentence that names a folder near a root that has what a data set consists of; empty if there is none.

    Args:
        root: that was given.
        patterns: of file or folder names, of which the right root has one or more.
    """
    for folder in islice(_near(root), MOST):
        with suppress(OSError, NotImplementedError, ValueError):  # not to be read, or no pattern of a name
            if any(next(folder.glob(pattern), None) is not None for pattern in patterns):
                return f" Did you mean --data.root={folder}?"
    return ""


def _near(root: Path) -> Iterator[Path]:
    """Folders by their distance: those within, those around, and where there is no such folder those beside it."""
    with suppress(OSError):
        inner = sorted(folder for folder in root.glob("*") if folder.is_dir())
        yield from inner
        for folder in inner:
            yield from sorted(each for each in folder.glob("*") if each.is_dir())
    outer = root.absolute().parents
    yield from (Path("..") if str(root) == "." else root.parent, *outer[1:2])
    if not root.exists():
        with suppress(OSError):
            yield from sorted(folder for folder in root.parent.glob("*") if folder.is_dir())
