"""Getting archives: verified downloads, and extraction that is whole or absent."""

import hashlib
import lzma
import shutil
import socket
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from sextant.atomic_folder import make_folder, put_in_place
from sextant.errors import InputError

TIMEOUT = 60  # seconds without an answer after which a server is given up


@dataclass(frozen=True)
class Archive:
    """A published archive, pinned.

    Attributes:
        url: where it is to be had.
        size: its size in bytes.
        sha256: the SHA-256 of its content, in hexadecimal.
        md5: its MD5, where that is all that was published.
    """

    url: str
    size: int
    sha256: str | None = None
    md5: str | None = None


def download(archive: Archive, path: Path) -> None:
    """Download an archive unless it is on disk already, and verify it in either case.

    The download goes to a temporary name in the folder of ``path`` and is renamed once its size and hash are right;
    a file at ``path`` that is damaged or cut short is replaced.

    Args:
        archive: what to get.
        path: the file to make.

    Raises:
        InputError: the server cannot be reached, what it sent is not the pinned file, or the disk is full.
    """
    if path.exists() and why_damaged(archive, path) is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if free < archive.size:
        raise InputError(
            f"{path.parent}: {archive.url} needs {archive.size / 1e6:.0f} MB, but only {free / 1e6:.0f} MB are free. "
            "Free some space, or choose another place."
        )
    print(f"Downloading {archive.url} ({archive.size / 1e6:.0f} MB) to {path}")
    part = path.with_name(f".{path.name}.part")
    previous_timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)  # torch.hub sets none
    try:
        torch.hub.download_url_to_file(archive.url, str(part))  # with a progress bar
        if why := why_damaged(archive, part):
            raise InputError(
                f"{path}: what {archive.url} sent is not the pinned file, since {why}. Nothing was kept; run again, "
                "and if it happens again the file at that address has changed."
            )
        put_in_place(part, path)
    except (OSError, HTTPException) as error:
        raise InputError(
            f"{path}: downloading {archive.url} failed ({error}). Run again, or download it by hand to that path."
        ) from error
    finally:
        socket.setdefaulttimeout(previous_timeout)
        part.unlink(missing_ok=True)


def why_damaged(archive: Archive, path: Path) -> str | None:
    """Compare a file on disk with the pinned archive.

    Returns:
        What is wrong with the file, or None if it is the pinned one.
    """
    size = path.stat().st_size
    if size != archive.size:
        return f"it has {size:,} bytes instead of {archive.size:,}"
    name, pinned = ("SHA-256", archive.sha256) if archive.sha256 else ("MD5", archive.md5)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, name.replace("-", "").lower()).hexdigest()
    return None if found == pinned else f"its {name} is {found} instead of {pinned}"


def extract(path: Path, destination: Path, top: str) -> None:
    """Extract one folder of a zip or tar archive, unless it was extracted before.

    Args:
        path: the archive.
        destination: the folder to make; it appears only when it is complete.
        top: the folder inside the archive that becomes ``destination``.

    Raises:
        InputError: the archive is damaged, lacks ``top``, or has an entry that leads out of the folder.
    """

    def fill(part: Path) -> Path:
        try:
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    _extract_zip(archive, path, part)
            elif tarfile.is_tarfile(path):
                with tarfile.open(path) as archive:
                    _extract_tar(archive, path, part)
            else:
                raise InputError(f"{path}: neither a zip nor a tar archive. Delete it and get it anew.")
        # What a damaged zip raises depends on the byte: an unknown method, a flag for encryption, a broken stream.
        except (
            *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
            *(EOFError, NotImplementedError, RuntimeError),
        ) as error:
            raise InputError(f"{path}: not extracted ({error}). Delete the archive and get it anew.") from error
        except OSError as error:
            raise InputError(
                f"{path}: could not be extracted beside {destination} ({error}). Nothing was kept."
            ) from error
        if not (part / top).is_dir():
            raise InputError(f"{path}: holds no folder {top!r}, so this is another archive than expected.")
        return part / top

    make_folder(destination, fill)


def get_folder(archive: Archive, file: Path, folder: Path, top: str, allowed: bool) -> None:
    """Get a published folder onto the disk, unless it is there. Without an archive and a permission, do nothing.

    Args:
        archive: what is published.
        file: where the archive is, or goes to.
        folder: where the folder goes to.
        top: the folder within the archive.
        allowed: whether the archive may be downloaded.

    Raises:
        InputError: the download failed, or an archive that is there is damaged.
    """
    if folder.exists() or not (allowed or file.exists()):
        return
    if allowed:
        download(archive, file)
    elif why := why_damaged(archive, file):
        raise InputError(
            f"{file}: not the published archive, since {why}. The download may have been cut short: run again with "
            "--data.download=true to replace it."
        )
    extract(file, folder, top)


def _extract_zip(archive: zipfile.ZipFile, path: Path, folder: Path) -> None:
    names = archive.namelist()
    _refuse_leading_out(path, names, folder)
    for name in tqdm(names, desc=f"Extracting {path.name}", unit="file"):
        archive.extract(name, folder)


def _extract_tar(archive: tarfile.TarFile, path: Path, folder: Path) -> None:
    members = archive.getmembers()
    _refuse_leading_out(path, [member.name for member in members], folder)
    for member in members:
        if not (member.isfile() or member.isdir()):
            raise InputError(
                f"{path}: the entry {member.name!r} is a link or a device; data is files and folders alone. "
                "Nothing was extracted; do not trust this archive."
            )
    # Python before 3.11.4 has no filter; what it would refuse was refused above.
    safe: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    for member in tqdm(members, desc=f"Extracting {path.name}", unit="file"):
        archive.extract(member, folder, **safe)


def _refuse_leading_out(path: Path, names: list[str], folder: Path) -> None:
    inside = folder.resolve()
    for name in names:
        if not (inside / name).resolve().is_relative_to(inside):
            raise InputError(
                f"{path}: the entry {name!r} leads out of the folder it is extracted to. "
                "Nothing was extracted; do not trust this archive."
            )
