"""The lock on a run's folder."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from sextant.errors import InputError
from sextant.logs.folder_lock import lock_folder
from tests.sextant.resume.interrupted import Folder

fork = multiprocessing.get_context("fork")


def _hold(folder: Path, told: Connection) -> None:
    file = lock_folder(folder)
    worker = fork.Process(target=time.sleep, args=(60,))  # as loader workers are, which may live longer
    worker.start()
    told.send((file is not None, worker.pid))
    time.sleep(60)


@contextmanager
def another_process_has(folder: Path) -> Iterator[int]:
    """Let another process have the lock; it is killed at the end, and what it has forked lives on."""
    ours, theirs = fork.Pipe()
    process = fork.Process(target=_hold, args=(folder, theirs))
    process.start()
    theirs.close()  # so that nobody waits for a process that has failed
    locked, worker = ours.recv()
    try:
        assert locked
        assert process.pid is not None
        yield process.pid
    finally:
        process.kill()
        process.join()
        assert lock_folder(folder) is not None  # the system took it from the killed one
        os.kill(worker, signal.SIGKILL)


def test_run_that_another_process_trains_is_left_alone(tmp_path: Path) -> None:
    run = Folder(tmp_path / "run", "--trainer.max_epochs=2")
    run.end("on_train_batch_end", 5, signal.SIGUSR1)

    def contents() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in run.run.rglob("*") if path.is_file()}

    with another_process_has(run.run) as pid:
        before = contents()
        with pytest.raises(InputError, match=rf"version_0: process {pid} on .* trains this run at the moment\. Wait"):
            run.fit("--ckpt_path=last")
        assert contents() == before
    assert run.fit("--ckpt_path=last").trainer.global_step == 8


def test_process_that_has_the_lock_gets_it_again(tmp_path: Path) -> None:
    first = lock_folder(tmp_path)
    second = lock_folder(tmp_path)
    assert first is not None
    assert second is not None
    assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")


def test_where_nothing_can_be_locked_there_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.lockf", unknown)
    assert lock_folder(tmp_path) is None
    assert lock_folder(tmp_path / "nowhere") is None
