"""A callback by which tests see what a run was fed."""

import json
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from typing_extensions import override

from sextant.contracts import Observer


class RecordBatches(Observer):
    """Append the samples of each batch to ``<folder>/<rank>.jsonl``: split, epoch, and indices in order.

    Args:
        folder: where to.
        hold_at: optimizer step before which the run waits for the file ``<folder>/go``, or to be killed; -1 does not.
    """

    def __init__(self, folder: str, hold_at: int = -1) -> None:
        self.folder = Path(folder)
        self.hold_at = hold_at

    def _record(self, trainer: Trainer, split: str, batch: dict[str, Any]) -> None:
        with (self.folder / f"{trainer.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps([split, trainer.current_epoch, batch["index"].tolist()]) + "\n")

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._record(trainer, "train", batch)
        while trainer.global_step == self.hold_at and not (self.folder / "go").exists():
            time.sleep(0.1)

    @override
    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if not trainer.sanity_checking:
            self._record(trainer, "val", batch)

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write which callbacks came to the end of the run."""
        classes = [type(callback) for callback in trainer.callbacks]  # type: ignore[attr-defined]
        (self.folder / "callbacks").write_text("\n".join(f"{cls.__module__}.{cls.__qualname__}" for cls in classes))


def read_batches(folder: Path, rank: int) -> list[tuple[str, int, list[int]]]:
    """What :class:`RecordBatches` wrote for a rank."""
    return [tuple(json.loads(line)) for line in (folder / f"{rank}.jsonl").read_text().splitlines()]
