"""Folders and files that are whole or absent, however a process that makes them ends."""

import errno
import glob
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from sextant.files.location import Location, RemotePath

MANY = 100  # files, which to wait for one by one takes long


def put_in_place(part: Path, path: Path) -> None:
    """Give what was written its name, in place of a file that had it, so that it outlasts a power failure.

    Args:
        part: a file, or a folder whose files have reached the disk.
        path: in the same folder.
    """
    for folder, _, _ in os.walk(part):
        sync(Path(folder))
    if part.is_file():
        sync(part)
    part.replace(path)
    sync(path.parent)


@contextmanager
def whole_file(path: Location, place: Callable[[Path, Path], None] = put_in_place) -> Generator[Path, None, None]:
    """A file to write to, which gets the name ``path`` where the block ends well, and else is removed.

    ``path`` is whole or as it was, however the process ends, and outlasts a power failure. What a killed process leaves
    is hidden beside it, and is overwritten by the next one.

    Args:
        path: the file, which one process writes at a time. Folders are made as they are needed.
        place: gives the file its name on a file system of this machine, if more is to be done than to replace a file.

    Raises:
        OSError: it could not be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(path, RemotePath):
        with tempfile.TemporaryDirectory(prefix="sextant-") as folder:
            yield Path(folder) / path.name
            path.upload(Path(folder) / path.name)
        return
    part = path.with_name(f".{path.name}.part")
    if part.is_dir():  # of a checkpoint of sharded tables
        shutil.rmtree(part)
    try:
        yield part
        place(part, path)
    finally:
        part.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, have reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:  # some network file systems have it for files only
        if not (path.is_dir() and error.errno in (errno.EINVAL, errno.ENOTSUP)):
            raise
    finally:
        os.close(descriptor)


def make_folder(destination: Path, make: Callable[[Path], Path]) -> None:
    """Make a folder unless it exists, so that it appears under its name only when it is complete.

    Processes that want the same folder at the same time wait for the first one. What a killed process left
    behind (a hidden folder beside ``destination``) is cleared away by the next one.

    Args:
        destination: the folder to make.
        make: fills the temporary folder that it is given, and returns the folder that shall be renamed to
            ``destination``: the one it was given or one inside. If it raises, nothing is kept.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(destination.parent / f".{destination.name}.lock"):
        if destination.exists():
            return
        part_name = re.compile(re.escape(f".{destination.name}.") + r"[a-z0-9_]{8}\.part")  # as mkdtemp makes them
        for entry in destination.parent.iterdir():
            if part_name.fullmatch(entry.name):
                shutil.rmtree(entry)
        part = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", suffix=".part", dir=destination.parent))
        part.chmod(0o755)  # mkdtemp makes a private folder; data is for every user
        try:
            made = make(part)
            _sync_files(made)
            put_in_place(made, destination)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _sync_files(folder: Path) -> None:
    """Wait until the files under a folder have reached the disk; all of the machine's, if they are many."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    if len(files) > MANY:
        os.sync()
    else:
        for file in files:
            sync(file)


def make_current(stem: Path, fingerprint: str, make: Callable[[Path], Path]) -> Path:
    """Make the folder ``<stem>-<fingerprint>`` unless it exists, and then delete those of other fingerprints.

    Args:
        stem: the folder's path without the fingerprint, which no other source has.
        fingerprint: changes when what the folder is made from changes.
        make: as of :func:`make_folder`.

    Returns:
        The folder.
    """
    folder = stem.parent / f"{stem.name}-{fingerprint}"
    if not folder.exists():
        make_folder(folder, make)
        for outdated in stem.parent.glob(f"{glob.escape(stem.name)}-*"):
            if outdated != folder:
                shutil.rmtree(outdated, ignore_errors=True)
    return folder


def fingerprint(files: Iterable[Path], folder: str, settings: str) -> str:
    """A hash of what a folder is made from, by the files' names, sizes and times of change.

    Args:
        files: all under ``folder``.
        folder: where they are, which does not count.
        settings: what else counts.
    """
    digest = hashlib.sha256(settings.encode())
    for file in files:
        try:
            stat = file.stat()
            state = f"{stat.st_size}\0{stat.st_mtime_ns}"
        except (OSError, ValueError):  # a link that leads nowhere, or no name of a file: reading it will say so
            state = "unreadable"
        digest.update(os.fsencode(f"{str(file)[len(folder) :]}\0{state}\0"))
    return digest.hexdigest()[:16]
