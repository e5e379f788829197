"""Places of files: paths, and URLs such as ``s3://bucket/runs``, whose file systems fsspec knows."""

import re
import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from uuid import uuid4

from fsspec.core import url_to_fs
from fsspec.utils import get_protocol

from sextant.errors import InputError, RemoteError

URL = re.compile(r"([a-z][a-z0-9+.-]*::)*[a-z][a-z0-9+.-]*://|file:/", re.I)  # the last is Lightning's for file:///
LOCAL = ("file", "local")


class RemotePath:
    """A path on a file system that is not the machine's, with the part of ``pathlib.Path`` that whole files need.

    There are no folders to be made, as on an object store, and files are written as a whole.

    Args:
        url: such as ``s3://bucket/runs``.

    Raises:
        InputError: the file system is not known, or needs a package that is not installed.
        RemoteError: by all methods: the file system does not answer, or refuses.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/") if not url.endswith("://") else url
        try:
            self._fs, self._path = url_to_fs(self._url)
        except (ImportError, ValueError) as error:
            raise InputError(
                f"{url}: files cannot be kept there ({error}). Install what is missing, or give another place."
            ) from error

    def __str__(self) -> str:
        return self._url

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and self._url == other._url

    def __hash__(self) -> int:
        return hash(self._url)

    def __truediv__(self, name: str) -> "RemotePath":
        return RemotePath(f"{self._url}{'' if self._url.endswith('/') else '/'}{name}")

    @property
    def name(self) -> str:
        return self._url.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        return Path(self.name).suffix

    @property
    def parent(self) -> "RemotePath":
        folder = self._url.rpartition("/")[0]
        return RemotePath(f"{folder}/" if folder.endswith(":/") else folder)

    def with_name(self, name: str) -> "RemotePath":
        return self.parent / name

    def resolve(self) -> "RemotePath":
        return self

    def exists(self) -> bool:
        with self._errors():
            self._fs.invalidate_cache()
            return bool(self._fs.exists(self._path))

    def is_file(self) -> bool:
        return self.exists() and not self.is_dir()

    def is_dir(self) -> bool:
        with self._errors():
            return bool(self._fs.isdir(self._path))

    def iterdir(self) -> Iterator["RemotePath"]:
        """What is in the folder; nothing if there is none."""
        with self._errors():
            self._fs.invalidate_cache()
            names = self._fs.ls(self._path, detail=False) if self._fs.isdir(self._path) else []
        return (self / name.rstrip("/").rpartition("/")[2] for name in names)

    def glob(self, pattern: str) -> Iterator["RemotePath"]:
        """What is in the folder under names of a pattern; ``*/name`` is a file ``name`` in any folder of it."""
        first, _, rest = pattern.partition("/")
        for entry in self.iterdir():
            if fnmatchcase(entry.name, first):
                if not rest:
                    yield entry
                elif (entry / rest).exists():
                    yield entry / rest

    def changed(self) -> float:
        """When the file was written, in seconds since 1970."""
        with self._errors():
            return float(self._fs.modified(self._path).timestamp())

    def read_text(self, encoding: str = "utf-8") -> str:
        with self._errors():
            return bytes(self._fs.cat_file(self._path)).decode(encoding)

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Make the folder where the file system has some."""
        with self._errors():
            self._fs.makedirs(self._path, exist_ok=True)

    def unlink(self, missing_ok: bool = False) -> None:
        if not missing_ok or self.exists():
            with self._errors():
                self._fs.rm_file(self._path)

    def rename(self, target: "RemotePath") -> None:
        """Move the file, in place of one that is there."""
        with self._errors():
            self._fs.mv(self._path, target._path)

    def copy(self, target: "RemotePath") -> None:
        """Copy the file within the file system, in place of one that is there."""
        with self._errors():
            self._fs.cp_file(self._path, target._path)

    def upload(self, file: Path) -> None:
        """Write the file from a local one, so that it is whole or as it was.

        It comes under a hidden name and is moved then, which object stores do within themselves, as a whole.
        """
        part = self.with_name(f".{self.name}.part")
        try:
            with self._errors():
                self._fs.put_file(str(file), part._path)
            part.rename(self)
        finally:
            with suppress(OSError):  # that of the upload says more
                part.unlink(missing_ok=True)

    def try_writing(self) -> None:
        """Write a file into the folder, and remove it."""
        probe = self / f".{uuid4().hex}"  # each process has its own
        with tempfile.NamedTemporaryFile() as empty:
            probe.upload(Path(empty.name))
        probe.unlink()

    def download(self, file: Path) -> None:
        """Read the file into a local one."""
        with self._errors():
            self._fs.get_file(self._path, str(file))

    @contextmanager
    def _errors(self) -> Generator[None, None, None]:
        """Each file system has errors of its own."""
        try:
            yield
        except Exception as error:
            raise RemoteError(f"{self._url}: {type(error).__name__}: {error}") from error


#: Where a file is.
Location = Path | RemotePath


def is_url(place: str) -> bool:
    """Whether a place is a URL, also one of the local file system, and no path."""
    return URL.match(place) is not None


def location(place: str | Path | RemotePath) -> Location:
    """A path, or a URL of another file system; a URL of the local one, such as ``file:///runs``, is a path.

    Raises:
        InputError: the file system is not known, or needs a package that is not installed.
    """
    if not isinstance(place, str) or not is_url(place):
        return place if isinstance(place, RemotePath) else Path(place)
    if "://" not in place and "::" not in place:
        return Path(place.removeprefix("file:"))
    if get_protocol(place) in LOCAL and "::" not in place:
        return Path(url_to_fs(place)[1])
    return RemotePath(place)


def seems_there(place: Location) -> bool:
    """Whether there is something, as far as is known, for messages of errors."""
    try:
        return place.exists()
    except OSError:
        return False


def changed(place: Location) -> float:
    """When a file was written, in seconds since 1970."""
    return place.changed() if isinstance(place, RemotePath) else place.stat().st_mtime


@contextmanager
def local_copy(place: Location) -> Generator[Path, None, None]:
    """A file to read, which is gone afterwards if it had to be fetched.

    Raises:
        OSError: it cannot be fetched.
    """
    if not isinstance(place, RemotePath):
        yield place
        return
    folder = Path(tempfile.mkdtemp(prefix="sextant-"))
    try:
        place.download(folder / place.name)
        yield folder / place.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def local_path(place: str, option: str) -> Path:
    """A path on this machine.

    Args:
        place: what was given.
        option: by which, for the message.

    Raises:
        InputError: it is a URL of another file system.
    """
    found = location(place)
    if isinstance(found, RemotePath):
        raise InputError(
            f"{option}={place}: it must be on a file system of this machine. Give a path, and copy it there."
        )
    return found
