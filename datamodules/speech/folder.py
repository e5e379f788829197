"""The files of a folder, none of which is left out without a word."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from sextant.errors import InputError


def files_under(folder: Path) -> Iterator[Path]:
    """The files under a folder, also behind links, in the order of their names, before those of its subfolders.

    Raises:
        InputError: a folder cannot be read, or a link leads back to a folder that it lies in.
    """
    for parent, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        folders.sort()
        for link in (Path(parent, name) for name in folders):
            if link.is_symlink() and Path(parent).resolve().is_relative_to(link.resolve()):
                raise InputError(
                    f"{link}: it links to a folder that it lies in, so every file would be found again, with the same "
                    "id. Remove the link."
                )
        yield from (Path(parent, name) for name in sorted(names))


def _refuse(error: OSError) -> NoReturn:
    raise InputError(f"{error.filename}: the folder cannot be read ({error.strerror}).") from error
