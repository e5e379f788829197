"""The exception for what a user can put right."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning.pytorch import Trainer


class InputError(ValueError):
    """Bad input: data on disk, a setting, or a checkpoint.

    The message stands alone: it says where (file, line or key), what was found, and what to do.
    ``train.py`` prints it without a traceback.
    """


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
