"""The sizes of embedding tables, on the terminal and in TensorBoard."""

from typing import Protocol, runtime_checkable

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from typing_extensions import override

from sextant.contracts import Observer, require


@runtime_checkable
class HasTables(Protocol):
    """A module with embedding tables."""

    def table_summary(self) -> str:
        """Parameters and bytes of each table, in lines."""


class TableSummary(Observer):
    """Report the sizes of a module's embedding tables at the start of training.

    Raises:
        InputError: in ``setup``: the module is none of :class:`HasTables`.
    """

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        require(pl_module, HasTables, self)

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        summary = require(pl_module, HasTables, self).table_summary()
        rank_zero_info(summary)
        if trainer.is_global_zero and isinstance(trainer.logger, TensorBoardLogger):
            # Markdown keeps text as it is where lines start with four spaces.
            trainer.logger.experiment.add_text("model/tables", "    " + summary.replace("\n", "\n    "))
