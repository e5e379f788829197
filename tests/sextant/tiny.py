"""The smallest workload: a line through eight numbers."""

from typing import Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchmetrics import MetricCollection
from typing_extensions import override

from sextant.datamodule import BaseDataModule
from sextant.loaders import TimedDataLoader
from sextant.module import BaseModule


class Line(BaseModule):
    """Learn that y is 2x.

    Args:
        width: number of equal inputs.
        slope: of which the line is learned.
        optimizer: makes the optimizer.
        scheduler: makes the schedule.
    """

    free_settings = frozenset({"note"})

    def __init__(
        self,
        optimizer: OptimizerCallable,
        width: int = 1,
        slope: float = 2.0,
        note: str = "",
        scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__(optimizer, scheduler)
        self.slope = slope
        self.width = width
        self.network = nn.Linear(width, 1)

    @override
    def step(self, batch: dict[str, Tensor], metrics: MetricCollection) -> dict[str, Any]:
        x = batch["x"][:, None].expand(-1, self.width)
        loss = ((self.network(x)[:, 0] - self.slope * batch["x"]) ** 2).mean()
        metrics["loss"].update(loss.detach(), len(batch["x"]))
        return {"loss": loss}

    @override
    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> list[dict[str, Any]]:
        return [{"y": y} for y in self.network(batch["x"][:, None].expand(-1, self.width))[:, 0].tolist()]


class Points(Dataset):
    """Batches of ``x``."""

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset

    def __len__(self) -> int:
        return 8

    @override
    def __getitem__(self, indices: list[int]) -> dict[str, Tensor]:
        index = torch.tensor(indices)
        return {"index": index, "x": index / 8 + self.offset}


class PointsData(BaseDataModule):
    """Eight numbers in batches of four, the same for all splits."""

    free_settings = BaseDataModule.free_settings | {"root"}
    model_settings = frozenset({"offset"})

    def __init__(
        self, batch_size: int = 4, root: str = "data", offset: float = 0.0, num_workers: int = 0, seed: int = 0
    ) -> None:
        super().__init__(num_workers, seed)
        self.batch_size = batch_size
        self.offset = offset

    @override
    def train_dataloader(self) -> TimedDataLoader:
        return self.loader(Points(self.offset), training=True)

    @override
    def val_dataloader(self) -> TimedDataLoader:
        return self.loader(Points(self.offset))

    @override
    def test_dataloader(self) -> TimedDataLoader:
        return self.loader(Points(self.offset))

    @override
    def predict_dataloader(self) -> TimedDataLoader:
        return self.loader(Points(self.offset))


ARGUMENTS = [
    *("--model=tests.sextant.tiny.Line", "--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=0.1"),
    *("--data=tests.sextant.tiny.PointsData", "--trainer.logger.name=tiny", "--trainer.accelerator=cpu"),
    *("--trainer.max_epochs=1", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
]
