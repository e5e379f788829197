"""The log of a run that is gone on with: what was measured up to the checkpoint, and nothing after it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from typing_extensions import override

KEY = "log_files"
EVENTS = "events.out.tfevents*"  # as TensorBoard names its files


class ContinuedLog(Callback):
    """TensorBoard's files as they were when the checkpoint was written.

    Each checkpoint says how long they are, once all that was measured before it is in them. What a run wrote after the
    checkpoint from which it is gone on with is cut off when training begins: it will be written anew.

    Args:
        sizes: files of the run that is gone on with, and their bytes at the time of the checkpoint.
    """

    def __init__(self, sizes: Mapping[Path, int] | None = None) -> None:
        self._sizes = sizes or {}

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            for file, size in self._sizes.items():
                if size == 0:
                    file.unlink(missing_ok=True)
                elif file.stat().st_size > size:
                    os.truncate(file, size)
            self._sizes = {}

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.is_global_zero:
            sizes = checkpoint.setdefault(KEY, {})
            for logger in trainer.loggers:
                logger.save()
                if isinstance(logger, TensorBoardLogger):
                    sizes |= {file.name: file.stat().st_size for file in Path(logger.log_dir).glob(EVENTS)}


def sizes_of_log(run: Path, checkpoint: Mapping[str, Any]) -> dict[Path, int]:
    """TensorBoard's files in the folder of a run, and their bytes when a checkpoint of it was written.

    Args:
        run: the folder.
        checkpoint: what it holds.
    """
    sizes = checkpoint.get(KEY, {})
    return {file: sizes.get(file.name, 0) for file in run.glob(EVENTS)} if sizes else {}
