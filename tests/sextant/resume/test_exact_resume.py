"""A plain Trainer with one call's arguments resumes exactly, with data and callbacks of one's own."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchmetrics import MeanMetric
from typing_extensions import override

from sextant.datamodule import BaseDataModule
from sextant.resume.exact_resume import exact_resume


class Points(Dataset[dict[str, Tensor]]):
    def __len__(self) -> int:
        return 50

    @override
    def __getitem__(self, indices: list[int]) -> dict[str, Tensor]:
        x = torch.tensor(indices, dtype=torch.float32)[:, None] / 50
        return {"x": x, "y": x.square(), "index": torch.tensor(indices)}


class PointsData(BaseDataModule):
    def __init__(self) -> None:
        super().__init__(num_workers=0, seed=0)
        self.batch_size = 8

    @override
    def train_dataloader(self) -> DataLoader[Any]:
        return self.loader(Points(), training=True)


class Regression(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.2), nn.Linear(8, 1))
        self.loss = MeanMetric()
        self.losses: list[float] = []  # of the epochs that ended

    @override
    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        loss = nn.functional.mse_loss(self.network(batch["x"]), batch["y"])
        self.loss.update(loss.detach(), len(batch["x"]))
        return loss

    @override
    def on_train_epoch_end(self) -> None:
        self.losses.append(self.loss.compute().item())
        self.loss.reset()

    @override
    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 0.01)


class PowerCut(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    @override
    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            raise InterruptedError


def fit(folder: Path, callbacks: list[Callback], ckpt_path: Path | None = None, **options: Any) -> Regression:
    model = Regression()
    trainer = Trainer(
        accelerator="cpu", devices=1, max_epochs=3, logger=False, default_root_dir=folder, enable_progress_bar=False,
        enable_model_summary=False, **exact_resume(callbacks, **{"every_n_steps": 2} | options),
    )  # fmt: skip
    trainer.fit(model, PointsData(), ckpt_path=ckpt_path)
    return model


@pytest.mark.parametrize("step", [5, 7, 13])
def test_run_that_is_cut_off_anywhere_and_resumed_ends_bit_identical(tmp_path: Path, step: int) -> None:
    with pytest.raises(InterruptedError):
        fit(tmp_path / "cut", [PowerCut(step)])
    resumed = fit(tmp_path / "cut", [], tmp_path / "cut" / "checkpoints" / "last.ckpt")
    whole = fit(tmp_path / "whole", [])
    assert all(map(torch.equal, resumed.parameters(), whole.parameters()))
    # What is measured is that of whole epochs, also of the one that was cut off.
    assert resumed.losses == whole.losses[-len(resumed.losses) :]
    assert len(resumed.losses) == 3 - step // 7


class Watches(Callback):
    """Keeps the step of ``last.ckpt`` before each batch."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.steps: list[int] = []

    @override
    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self.steps.append(torch.load(self.file, weights_only=True)["global_step"] if self.file.exists() else 0)


@pytest.mark.parametrize(
    ("options", "every"), [({"every_n_steps": 3}, 3), ({"every_n_steps": 0, "every_n_minutes": 1e-9}, 1)], ids=str
)
def test_checkpoints_are_written_as_often_and_kept_as_long_as_was_asked_for(
    tmp_path: Path, options: dict[str, Any], every: int
) -> None:
    folder = tmp_path / "checkpoints"
    watches = Watches(folder / "last.ckpt")
    fit(tmp_path, [watches], **options, keep_epochs=[1, 3])
    batches = 7  # of an epoch, after which it is written too
    assert watches.steps == [max(step // every * every, step // batches * batches) for step in range(3 * batches)]
    kept = {file.name: torch.load(file, weights_only=True)["global_step"] for file in folder.glob("epoch=*")}
    assert kept == {"epoch=001.ckpt": batches, "epoch=003.ckpt": 3 * batches}
