"""A process of a run that fails ends the others, and only it says why."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import LightningModule, Trainer
from typing_extensions import override

from sextant.contracts import Observer
from sextant.errors import InputError
from tests.launch import start_ranks
from tests.sextant.tiny import ARGUMENTS


class Fails(Observer):
    """Fails on one process in the third step.

    Args:
        rank: of the process.
        how: it finds bad input (``input``), as all others do (``all``), or as the other one does not notice (``busy``);
            it has a fault (``fault``), or is killed (``killed``).
    """

    def __init__(self, rank: int, how: str) -> None:
        self.rank = rank
        self.how = how

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step != 2:
            return
        if trainer.global_rank != self.rank and self.how != "all":
            time.sleep(1000 if self.how == "busy" else 0)
        elif self.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.how == "fault":
            raise KeyError("a fault")
        else:
            raise InputError("file.txt:3: bad input.")


def fail(folder: Path, rank: int, how: str) -> tuple[list[int | None], str]:
    """Exit codes and output of two processes, one of which fails."""
    callback = "--trainer.callbacks+=tests.sextant.resume.test_shared_failure.Fails"
    failing = [callback, f"--trainer.callbacks.rank={rank}", f"--trainer.callbacks.how={how}"]
    processes = start_ranks(["fit", *ARGUMENTS, "--trainer.max_epochs=3", *failing], folder, 2, folder / "log")
    for process in processes:
        process.join(120)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    return codes, (folder / "log").read_text()


@pytest.mark.parametrize("rank", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_bad_input_of_one_process_is_the_one_message_of_all(tmp_path: Path, rank: int) -> None:
    codes, said = fail(tmp_path, rank, "input")
    assert codes == [1, 1]
    assert said.count("error:") == said.count("error: file.txt:3: bad input.") == 1
    assert "Traceback" not in said


@pytest.mark.slow
def test_bad_input_of_all_processes_is_said_once(tmp_path: Path) -> None:
    codes, said = fail(tmp_path, 0, "all")
    assert codes == [1, 1]
    assert said.count("error:") == 1


@pytest.mark.slow
def test_process_that_does_not_notice_is_ended_too(tmp_path: Path) -> None:
    codes, said = fail(tmp_path, 1, "busy")
    assert codes == [1, 1]
    assert said.count("error:") == 1


@pytest.mark.slow
def test_fault_of_one_process_is_the_one_traceback_of_all(tmp_path: Path) -> None:
    codes, said = fail(tmp_path, 0, "fault")
    assert codes == [1, 1]
    assert said.count("KeyError: 'a fault'") == 1
    assert "error:" not in said


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_process_that_is_killed_is_missed_by_the_others_without_a_traceback(tmp_path: Path, rank: int) -> None:
    codes, said = fail(tmp_path, rank, "killed")
    assert [codes[rank], codes[1 - rank]] == [-signal.SIGKILL, 1]
    assert said.count(f"error: Process {1 - rank} stops: another process of the run was lost") == 1
    assert "Traceback" not in said
