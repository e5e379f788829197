"""The sizes of embedding tables in the log."""

from typing import Protocol, runtime_checkable

from lightning.pytorch import LightningModule, Trainer
from typing_extensions import override

from sextant.contracts import Observer, require
from sextant.logs.drawing import draw_text


@runtime_checkable
class HasTables(Protocol):
    """A module with embedding tables."""

    def table_summary(self) -> str:
        """Parameters and bytes of each table, in lines."""


class TableSummary(Observer):
    """Log the sizes of a module's embedding tables at the start of training.

    Raises:
        InputError: in ``setup``: the module is none of :class:`HasTables`.
    """

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        require(pl_module, HasTables, self)

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        draw_text(trainer, "model/tables", require(pl_module, HasTables, self).table_summary(), preformatted=True)
