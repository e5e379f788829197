"""The files of a checkpoint: which they are, what they may hold, and how one replaces another atomically."""

import os
import re
import shutil
import zipfile
from contextlib import suppress
from io import RawIOBase
from pathlib import Path
from typing import IO, cast

import torch

from sextant.atomic_folder import put_in_place
from sextant.files.location import Location, RemotePath

MAIN_FILE = "checkpoint.ckpt"  # in a folder that is a checkpoint: everything but what several processes wrote
LAST = "last.ckpt"
PREVIOUS = "previous.ckpt"  # what was the last one before

MARKS_FOLDER = 0x10  # an attribute of MS-DOS, which zip files have

# What torch.load(weights_only=True) calls with a length, which may be any, and no checkpoint of tensors has.
ALLOCATES = re.compile(rb"c(?:builtins|__builtin__)\nbytearray\n|ctorch[\w.]*\n(?:\w*Tensor|_rebuild_qtensor)\n")

# Names of what is written or removed while it is, as tempfile and the functions below make them.
LEFT_BEHIND = re.compile(r"\.+.+\.ckpt(\.[a-z0-9_]{8})?(\.part|\.old|\.removed)+")

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


def verify(file: Path | RawIOBase) -> None:
    """Compare all that ``torch.save`` wrote into a file with its checksums, which ``torch.load`` does not do.

    Args:
        file: a file, or a part of one.

    Raises:
        Exception: of many types, where something is damaged.
    """
    with zipfile.ZipFile(cast("Path | IO[bytes]", file)) as archive:
        for record in archive.infolist():
            if record.compress_type != zipfile.ZIP_STORED:  # torch writes none, and a small one may become huge
                raise zipfile.BadZipFile(f"{record.filename} is compressed")
            if record.external_attr & MARKS_FOLDER:  # torch would read nothing, and give what is in the memory
                raise zipfile.BadZipFile(f"{record.filename} is marked as a folder")
            if record.filename.endswith("data.pkl") and (found := ALLOCATES.search(archive.read(record))):
                call = ".".join(found.group()[1:].decode().split())
                raise zipfile.BadZipFile(f"it calls {call}, which may ask for any memory")
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(f"the checksum of {damaged} is another")


def main_file(path: Location) -> Location:
    """The file of a checkpoint that has its settings: itself, or one in it if it is a folder of sharded tables."""
    return path / MAIN_FILE if isinstance(path, Path) and path.is_dir() else path


def restore_interrupted(path: Location) -> None:
    """Give a checkpoint its name back, where its replacement was killed halfway."""
    if isinstance(path, RemotePath):  # where a file is replaced in one step
        return
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
    if path.is_dir() or (part.is_dir() and path.exists()):  # a file replaces a file in one step
        path.rename(old)
    put_in_place(part, path)
    remove(old)


def remove(path: Location) -> None:
    """Remove a checkpoint, so that a kill leaves no half of it under its name."""
    if isinstance(path, Path) and path.is_dir():
        doomed = path.with_name(f".{path.name}.removed")
        shutil.rmtree(doomed, ignore_errors=True)
        path.rename(doomed)
        shutil.rmtree(doomed)
    else:
        path.unlink(missing_ok=True)


def keep_as_previous(path: Location) -> None:
    """Keep a checkpoint as ``previous.ckpt`` too, whatever its own name is given to later.

    On a file system of this machine this makes links and no copy, so it takes space once the name is given to another
    one; others copy the file within themselves.

    Raises:
        OSError: the file system has no hard links, or cannot copy.
    """
    if isinstance(path, RemotePath):
        path.copy(path.with_name(PREVIOUS))
        return
    previous = path.with_name(PREVIOUS)
    if previous.exists() and previous.samefile(path):  # renaming one link to another would leave both
        return
    part = path.with_name(f".{PREVIOUS}.part")
    remove(part)
    if path.is_dir():
        shutil.copytree(path, part, copy_function=os.link)
    else:
        os.link(path, part)
    replace_atomically(part, previous)


def remove_leftovers(folder: Location) -> None:
    """Remove what runs that were killed left beside the checkpoints of a folder, into which no other run writes."""
    for old in folder.glob(".*.ckpt.old"):
        restore_interrupted(old.with_name(old.name[1 : -len(".old")]))
    entries: list[Location] = list(folder.iterdir())
    for entry in entries:
        if LEFT_BEHIND.fullmatch(entry.name):
            remove(entry)
