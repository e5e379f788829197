"""Folders appear whole or not at all."""

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from sextant import atomic_folder
from sextant.atomic_folder import make_folder, put_in_place
from tests.filesystem import listing
from tests.processes import in_fork


def write_ten_files(part: Path) -> Path:
    for k in range(10):
        (part / f"{k}.txt").write_text(str(k))
        time.sleep(0.002)  # so that others who want the folder come while it is being made
    return part


def test_folder_is_made_with_the_folders_above_it(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b" / "c", write_ten_files)
    assert listing(tmp_path / "a" / "b") == ["c", *(f"c/{k}.txt" for k in range(10))]


def test_folder_is_absent_until_it_is_complete(tmp_path: Path) -> None:
    destination = tmp_path / "data"
    seen: list[bool] = []

    def make(part: Path) -> Path:
        write_ten_files(part)
        seen.append(destination.exists())
        return part

    make_folder(destination, make)
    assert seen == [False]
    assert destination.is_dir()


@pytest.mark.parametrize("many", [3, 100])
def test_files_of_a_folder_are_on_the_disk_before_it_has_its_name(
    tmp_path: Path, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One by one, or, if they are many, with all others of the machine."""
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(handle: int) -> None:
        done.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        fsync(handle)

    def renamed(source: Path, target: Path) -> None:
        done.append(f"named {Path(target).name}")
        replace(source, target)

    monkeypatch.setattr(atomic_folder, "MANY", many)
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "sync", lambda: done.append("all"))
    monkeypatch.setattr(os, "replace", renamed)
    make_folder(tmp_path / "data", write_ten_files)
    before = set(done[: done.index("named data")])
    assert before >= ({"all"} if many < 10 else {f"{k}.txt" for k in range(10)})


def test_folder_inside_the_temporary_one_is_renamed_and_the_rest_is_dropped(tmp_path: Path) -> None:
    def make(part: Path) -> Path:
        (part / "rest.txt").write_text("not wanted")
        (part / "top").mkdir()
        return write_ten_files(part / "top")

    make_folder(tmp_path / "data", make)
    assert listing(tmp_path) == ["data", *(f"data/{k}.txt" for k in range(10))]


def test_folder_that_exists_is_left_alone(tmp_path: Path) -> None:
    destination = tmp_path / "data"
    destination.mkdir()

    def make(part: Path) -> Path:
        raise AssertionError("made again")

    make_folder(destination, make)
    assert listing(tmp_path) == ["data"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_nothing_is_kept_if_making_fails(tmp_path: Path, error: type[BaseException]) -> None:
    def make(part: Path) -> Path:
        write_ten_files(part)
        raise error

    with pytest.raises(error):
        make_folder(tmp_path / "data", make)
    assert listing(tmp_path) == []
    make_folder(tmp_path / "data", write_ten_files)
    assert len(listing(tmp_path / "data")) == 10


def test_threads_that_want_the_folder_at_once_make_it_once(tmp_path: Path) -> None:
    made: list[int] = []
    found: list[int] = []
    together = threading.Barrier(8)

    def make(part: Path) -> Path:
        made.append(1)
        return write_ten_files(part)

    def want() -> None:
        together.wait()
        make_folder(tmp_path / "data", make)
        found.append(len(listing(tmp_path / "data")))

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]
    assert found == [10] * 8


def test_processes_that_want_the_folder_at_once_make_it_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    together = context.Barrier(4)
    made, found = context.SimpleQueue(), context.SimpleQueue()

    def make(part: Path) -> Path:
        made.put(os.getpid())
        return write_ten_files(part)

    def want() -> None:
        together.wait()
        make_folder(tmp_path / "data", make)
        found.put(len(listing(tmp_path / "data")))

    processes = [context.Process(target=want) for _ in range(4)]
    for process in processes:
        process.start()
    assert [found.get() for _ in processes] == [10] * 4
    for process in processes:
        process.join()
    made.get()
    assert made.empty()


def test_killed_process_leaves_no_folder_and_the_next_one_clears_up(tmp_path: Path) -> None:
    def die(part: Path) -> Path:
        (part / "0.txt").write_text("0")
        os.kill(os.getpid(), signal.SIGKILL)
        return part

    code, _ = in_fork(lambda: make_folder(tmp_path / "data", die))
    assert code == -signal.SIGKILL
    assert not (tmp_path / "data").exists()
    assert any(name.endswith(".part/0.txt") for name in listing(tmp_path)), "the kill left nothing to clear away"
    make_folder(tmp_path / "data", write_ten_files)
    assert listing(tmp_path) == ["data", *(f"data/{k}.txt" for k in range(10))]


@pytest.mark.parametrize("name", ["data", "data [1]", "tiny-imagenet-200.v2"])
def test_stale_parts_are_removed_whatever_the_name_of_the_folder(tmp_path: Path, name: str) -> None:
    for k in range(2):
        stale = tmp_path / f".{name}.abcd_12{k}.part"
        stale.mkdir()
        (stale / "half.txt").write_text("half")
    make_folder(tmp_path / name, write_ten_files)
    assert listing(tmp_path) == [name, *(f"{name}/{k}.txt" for k in range(10))]


def test_part_of_another_folder_whose_name_begins_alike_is_left_alone(tmp_path: Path) -> None:
    def make_while_another_is_made(part: Path) -> Path:
        write_ten_files(part)
        make_folder(tmp_path / "data", write_ten_files)
        return part

    make_folder(tmp_path / "data.v2", make_while_another_is_made)
    assert len(listing(tmp_path / "data")) == len(listing(tmp_path / "data.v2")) == 10


def test_folder_is_open_to_other_users(tmp_path: Path) -> None:
    make_folder(tmp_path / "data", write_ten_files)
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_put_in_place_and_its_name_reach_the_disk(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this order: what has its name is whole also after a power failure."""
    part, path, synced = tmp_path / "a.part", tmp_path / "a", list[tuple[int, bool]]()

    def fsync(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_ino, path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    if kind == "file":
        part.write_text("whole")
    else:
        part.mkdir()
    put_in_place(part, path)
    assert synced == [(path.stat().st_ino, False), (tmp_path.stat().st_ino, True)]
