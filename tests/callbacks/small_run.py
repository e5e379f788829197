"""A module that knows nothing of the library, and a short run of it."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from typing_extensions import override


class Plain(LightningModule):
    """A classifier of images float (B, 3, 64, 64) in ten classes."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * 64 * 64, 10)

    def loss(self, batch: Any) -> Tensor:
        image, label = batch if isinstance(batch, list) else (batch["image"], batch["label"])
        return nn.functional.cross_entropy(self.linear(image.flatten(1)), label)

    @override
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.loss(batch)

    @override
    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        loss = self.loss(batch)
        self.log("val/loss", loss)
        return {"loss": loss}

    @override
    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def loader(pixel: float | None = None) -> DataLoader:
    """Eight images in two batches: random ones, or all of one value."""
    images = torch.randn(8, 3, 64, 64) if pixel is None else torch.full((8, 3, 64, 64), pixel)
    return DataLoader(TensorDataset(images, torch.arange(8)), batch_size=4)


def trainer(folder: Path, *callbacks: Callback, **options: Any) -> Trainer:
    """A Trainer of one epoch of two training batches and one validation batch, which logs to TensorBoard."""
    common: dict[str, Any] = {
        "accelerator": "cpu",
        "max_epochs": 1,
        "limit_train_batches": 2,
        "limit_val_batches": 1,
        "limit_predict_batches": 1,
        "num_sanity_val_steps": 1,
        "log_every_n_steps": 1,
        "logger": TensorBoardLogger(folder),
        "callbacks": list(callbacks),
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
    }
    return Trainer(**common | options)


def logged(run: Trainer) -> EventAccumulator:
    """What a run has written to TensorBoard."""
    return EventAccumulator(str(run.log_dir), {"images": 0, "tensors": 0}).Reload()
