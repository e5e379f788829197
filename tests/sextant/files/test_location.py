"""Locations of files: paths, and URLs of file systems that fsspec knows."""

import sys
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from sextant.atomic_folder import whole_file
from sextant.errors import InputError, RemoteError
from sextant.files.location import Location, RemotePath, changed, is_url, local_copy, local_path, location


@pytest.fixture(params=["memory", "file", "path"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """An empty folder, by each kind of address."""
    url = {"memory": f"memory://{tmp_path.name}", "file": f"file://{tmp_path}", "path": str(tmp_path)}[request.param]
    return location(url)


def write(place: Location, text: str, fails: bool = False) -> None:
    with whole_file(place) as part:
        part.write_text(text)
        if fails:
            raise OSError("the network is gone")


def test_file_is_written_listed_read_copied_and_removed(folder: Location) -> None:
    file = folder / "run" / "checkpoints" / "last.ckpt"
    assert not file.exists()
    write(file, "one")
    write(file, "two")
    assert file.is_file()
    assert file.parent.is_dir()
    assert (file.name, file.suffix, file.parent.name) == ("last.ckpt", ".ckpt", "checkpoints")
    assert [str(found) for found in (folder / "run").glob("*/last.ckpt")] == [str(file)]
    assert [entry.name for entry in file.parent.iterdir()] == ["last.ckpt"]
    assert file.read_text(encoding="utf-8") == "two"
    with local_copy(file) as local:
        assert local.read_text() == "two"
    assert changed(file) > 1.7e9
    if isinstance(file, RemotePath):
        assert not local.exists()
    file.unlink()
    file.unlink(missing_ok=True)
    assert not list(file.parent.iterdir() if file.parent.exists() else [])


@pytest.mark.parametrize("when", ["writing", "put_file", "mv"])
def test_file_that_fails_is_as_it_was_and_leaves_nothing_beside_it(
    folder: Location, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folder / "last.ckpt"
    write(file, "old")

    def fails(system: MemoryFileSystem, *args: Any, **options: Any) -> None:
        if when == "put_file":
            system.pipe_file(args[1], b"half")
        raise ConnectionError("the network is gone")

    if when != "writing":
        if not isinstance(file, RemotePath):
            pytest.skip("on this machine there is no network")
        monkeypatch.setattr(MemoryFileSystem, when, fails)
    with pytest.raises(OSError, match="the network is gone"):
        write(file, "new", fails=when == "writing")
    monkeypatch.undo()
    assert file.read_text(encoding="utf-8") == "old"
    assert [entry.name for entry in folder.iterdir()] == ["last.ckpt"]


def test_errors_of_a_file_system_name_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoCredentialsError(Exception):
        pass

    def fails(*args: Any, **options: Any) -> None:
        raise NoCredentialsError("unable to locate credentials")

    for name in ("exists", "isdir", "put_file", "get_file"):
        monkeypatch.setattr(MemoryFileSystem, name, fails)
    place = location("memory://bucket/file")
    assert isinstance(place, RemotePath)
    for act in (place.exists, place.is_dir, lambda: place.upload(Path(__file__)), lambda: place.download(Path("x"))):
        with pytest.raises(
            RemoteError, match=r"memory://bucket/file: NoCredentialsError: unable to locate credentials"
        ):
            act()


def test_file_system_that_is_not_known_is_named() -> None:
    with pytest.raises(InputError, match=r"nosuch://bucket/run: files cannot be kept there \(Protocol not known"):
        location("nosuch://bucket/run")


def test_package_that_a_file_system_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(InputError, match=r"s3://bucket/run: files cannot be kept there \(Install s3fs"):
        location("s3://bucket/run")


@pytest.mark.parametrize("url", ["file:///a/b c", "file:/a/b c", "local:///a/b c"])
def test_url_of_this_machine_is_a_path(url: str) -> None:
    assert is_url(url)
    assert location(url) == Path("/a/b c")


@pytest.mark.parametrize("path", ["a/b", "/a:b/c", "C", "a b://c", "1://a", "..//a", "a::b.ckpt"])
def test_path_is_no_url(path: str) -> None:
    assert not is_url(path)
    assert location(path) == Path(path)


def test_url_is_refused_where_a_file_of_this_machine_is_needed() -> None:
    assert local_path("file:///a/b", "--output") == local_path("/a/b", "--output") == Path("/a/b")
    with pytest.raises(InputError, match=r"--output=memory://a/b: it must be on a file system of this machine"):
        local_path("memory://a/b", "--output")
