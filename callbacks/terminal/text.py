"""What a person reads on the terminal, or in the file that a command writes to: lines, numbers, durations."""

import textwrap
from collections.abc import Iterable

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from tqdm import tqdm


def say(lines: Iterable[str]) -> None:
    """Write lines, on the first process only, and above a progress bar."""
    with tqdm.external_write_mode():
        rank_zero_info("\n".join(lines))


def wrapped(sentence: str) -> str:
    """A sentence in lines of at most 80 characters, of which all but the first are indented."""
    return textwrap.fill(sentence, 80, subsequent_indent="  ", break_long_words=False)


def epoch_of_run(trainer: Trainer) -> str:
    """The epoch under way, counted from 1, such as ``3/100``, or ``3`` in a run without a limit."""
    of = f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""
    return f"{trainer.current_epoch + 1}{of}"


def number(value: float | None) -> str:
    """A measured value in four digits; a dash for None."""
    return "-" if value is None else f"{value:.4g}"


def short(count: float) -> str:
    """A count in three digits, such as ``11.2 M``."""
    for unit in ("", " k", " M", " G"):
        if count < 999.5:
            return f"{count:.3g}{unit}"
        count /= 1000
    return f"{count:,.3g} T"


def clock(seconds: float) -> str:
    """A duration as ``minutes:seconds`` or ``hours:minutes:seconds``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
