"""Go on with a begun epoch to its end, whatever the number of processes."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from typing_extensions import override


class BegunEpoch(Callback):
    """Let Lightning count the steps of a begun epoch so that they end with the data.

    For Lightning an epoch ends when as many steps are counted as the loader has. Where dynamic batches are dealt anew
    to another number of processes, the steps that were done and those that remain are not that many.
    """

    @override
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        begun = trainer.datamodule.begun_steps() if trainer.state.fn == "fit" else 0  # type: ignore[attr-defined]
        if begun:
            current = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
            shift = begun - current["processed"]
            current.update({stage: count + shift for stage, count in current.items()})
