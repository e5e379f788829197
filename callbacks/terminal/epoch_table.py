"""A line for each epoch, on the terminal or in the file that a command writes to."""

from collections.abc import Iterable

from lightning.pytorch import LightningModule, Trainer
from typing_extensions import override

from callbacks.terminal.text import epoch_of_run, number, say
from sextant.contracts import Observer
from sextant.logs.best_value import best_value

#: The least widths of columns, which all are as wide as their names; together they fit a terminal of 80.
WIDTHS = {"epoch": 7, "steps": 8}
WIDTH = 7
#: Lines after which the names of the columns come again.
PAGE = 30


class EpochTable(Observer):
    """A line for each epoch that stays: its steps, losses, metric and speed.

    The metric is what the best checkpoint is chosen by, and ``best`` its best value so far. The speed is that of the
    last steps that were logged, and ``waiting`` the part of their time in which training waited for data.
    """

    def __init__(self) -> None:
        self._names: list[str] = []  # of the columns of the last line
        self._lines = 0  # under these names
        self._ended: tuple[str, str] | None = None  # the epoch that has ended, and the steps made by then

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._ended = epoch_of_run(trainer), f"{trainer.global_step:,}"

    # What the epoch measured, and which checkpoint is the best, is known after the other callbacks' hooks.
    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer, pl_module)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer, pl_module)

    def _write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._ended is None:
            return
        (epoch, steps), self._ended = self._ended, None
        best = best_value(trainer)
        metric = best[0] if best else "val/loss"
        values = {name: value.item() for name, value in trainer.callback_metrics.items() if value.numel() == 1}
        row = {"epoch": epoch, "steps": steps}
        row |= {name: number(values.get(name)) for name in ("train/loss", "val/loss", metric)}
        row["best"] = number(best[1] if best else None)
        for name in [name for name in values if name.startswith("throughput/") and name.endswith("_per_second")][:1]:
            row[name.removeprefix("throughput/").replace("_per_second", "/s")] = f"{values[name]:,.0f}"
            row["waiting"] = f"{values.get('throughput/data_wait', 0):.0%}"
        again = list(row) != self._names or self._lines == PAGE
        self._names, self._lines = list(row), 1 if again else self._lines + 1
        say([*([_line(row, row)] if again else []), _line(row, row.values())])


def _line(names: Iterable[str], cells: Iterable[str]) -> str:
    widths = (max(len(name), WIDTHS.get(name, WIDTH)) for name in names)
    return "".join(f" {cell:>{width}}" for width, cell in zip(widths, cells, strict=True))
