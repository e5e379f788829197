"""Go on with a begun epoch to its end, whatever the number of processes."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from typing_extensions import override


class PartialEpoch(Callback):
    """Let an epoch that a checkpoint left begun end once, and with the data.

    For Lightning an epoch ends when as many steps are counted as the loader has. Where dynamic batches are dealt anew
    to another number of processes, the steps that were done and those that remain are not that many. And where
    ``max_steps`` is given, Lightning takes an epoch that is over for a begun one, and would end it once more.
    """

    @override
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn != "fit":
            return
        trainer.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]
        if begun := trainer.datamodule.begun_steps():  # type: ignore[attr-defined]
            current = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
            shift = begun - current["processed"]
            current.update({stage: count + shift for stage, count in current.items()})
