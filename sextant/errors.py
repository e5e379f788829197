"""The exception for what a user can put right."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning.pytorch import Trainer


class InputError(ValueError):
    """Bad input: data on disk, a setting, or a checkpoint.

    The message stands alone: it says where (file, line or key), what was found, and what to do.
    ``train.py`` prints it without a traceback.
    """


class RemoteError(OSError):
    """A file system that is not this machine's refused something or did not answer; the message names the URL."""


#: What torch says where a process is missing.
LOST = re.compile("gloo|nccl|connection|timed out", re.IGNORECASE)


def lost_process(error: BaseException, rank: int) -> InputError | None:
    """The error of a process of a run that has lost another one; None if it has ended for another reason.

    Args:
        error: with which it ended.
        rank: of the process.
    """
    if not isinstance(error, RuntimeError) or not LOST.search(str(error)):
        return None
    return InputError(
        f"Process {rank} stops: another process of the run was lost, or did not answer in time. If it had the time, it "
        "said why itself. To go on: the same command with --ckpt_path=last "
        f"({str(error).strip().splitlines()[0]})"
    )


def on_first_process(trainer: "Trainer", do: Callable[[], None]) -> None:
    """Do something on the first process of a run; all processes call this together.

    Args:
        trainer: of the run, from ``setup`` on.
        do: what is to be done once, for instance to look at a file before any process writes it.

    Raises:
        InputError: as ``do`` raised it, on all processes: none goes on alone.
    """
    problem: str | None = None
    if trainer.is_global_zero:
        try:
            do()
        except InputError as error:
            problem = str(error)
    problem = trainer.strategy.broadcast(problem)
    if problem is not None:
        raise InputError(problem)
