"""Fits that learn nothing, to see what a DataModule gives a Trainer."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from typing_extensions import override


class Recorder(LightningModule):
    """Learns nothing; keeps the training samples, and the DataModule's position after each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.batches: list[list[int]] = []
        self.positions: list[dict[str, Any]] = []

    @override
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        self.batches.append(batch["index"].tolist())
        return self.weight.sum()

    @override
    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        pass

    @override
    def on_train_batch_end(self, *args: Any) -> None:
        self.positions.append(self.trainer.datamodule.state_dict())  # type: ignore[attr-defined]

    @override
    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def bare_trainer(folder: Path, **options: Any) -> Trainer:
    """A Trainer on the CPU that writes nothing."""
    return Trainer(
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **options,
    )
