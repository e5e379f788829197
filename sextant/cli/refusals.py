"""Errors of Lightning and torch that say that a setting is wrong, as errors of input."""

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from sextant.errors import InputError

LIGHTNING = Path(lightning.__file__).parent
# What torch says:
NO_NUMBER_TYPE = re.compile(
    r"not implemented for '(BFloat16|Half|Double|Float)'|same dtype|expected scalar type|expected .* dtype"
    r"|[Ii]nput type .* and (bias|weight) type"
)
NOT_DETERMINISTIC = re.compile("does not have a deterministic implementation")
SMALLER = "Use smaller batches or a smaller model, or end other programs."
NO_MEMORY = re.compile(r"(?:tried to allocate|Tried to allocate|Unable to allocate) ([\d.]+ ?\w+)")


@contextmanager
def settings_refused(precision: object = None) -> Iterator[None]:
    """Make one error of what Lightning or torch says of a setting.

    Args:
        precision: what ``--trainer.precision`` is.

    Raises:
        InputError: Lightning refuses a setting, a number type or a deterministic result is not to be had here, or there
            is not enough memory.
    """
    try:
        yield
    except (InputError, KeyboardInterrupt):
        raise
    except (MisconfigurationException, ValueError, TypeError, ImportError) as error:
        if not isinstance(error, MisconfigurationException) and not _raised_by_lightning(error):
            raise
        raise InputError(f"A setting of the Trainer cannot be used: {_one_line(error)}") from error
    except (RuntimeError, MemoryError) as error:
        reason = _one_line(error)
        if _raised_by_lightning(error):
            raise InputError(f"A setting of the Trainer cannot be used: {reason}") from error
        if isinstance(error, torch.OutOfMemoryError | MemoryError) or NO_MEMORY.search(reason):
            raise InputError(f"There is not enough memory: {_asked(reason)}. {SMALLER}") from error
        if precision not in (None, "32-true", "32", 32) and NO_NUMBER_TYPE.search(reason):
            raise InputError(
                f"--trainer.precision is {precision}, in which this model cannot be computed here: {reason}. Use "
                "bf16-mixed, or leave it out."
            ) from error
        if NOT_DETERMINISTIC.search(reason):
            raise InputError(f"--trainer.deterministic is true: {reason} Use --trainer.deterministic=warn.") from error
        raise


def _asked(reason: str) -> str:
    found = NO_MEMORY.search(reason)
    return f"{found[1]} more were asked for" if found else reason


def _raised_by_lightning(error: BaseException) -> bool:
    """Whether the code that raised an error is Lightning's."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and LIGHTNING in Path(frames[-1].filename).parents


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:400]
