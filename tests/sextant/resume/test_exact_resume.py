"""A plain Trainer with one call's arguments resumes exactly, with data and callbacks of one's own."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
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

    @override
    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return nn.functional.mse_loss(self.network(batch["x"]), batch["y"])

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


def fit(folder: Path, callbacks: list[Callback], ckpt_path: Path | None = None) -> Tensor:
    model = Regression()
    trainer = Trainer(
        accelerator="cpu", devices=1, max_epochs=3, logger=False, default_root_dir=folder, enable_progress_bar=False,
        enable_model_summary=False, **exact_resume(callbacks, every_n_steps=2),
    )  # fmt: skip
    trainer.fit(model, PointsData(), ckpt_path=ckpt_path)
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


@pytest.mark.parametrize("step", [5, 7, 13])
def test_run_that_is_cut_off_anywhere_and_resumed_ends_bit_identical(tmp_path: Path, step: int) -> None:
    with pytest.raises(InterruptedError):
        fit(tmp_path / "cut", [PowerCut(step)])
    resumed = fit(tmp_path / "cut", [], tmp_path / "cut" / "checkpoints" / "last.ckpt")
    assert torch.equal(resumed, fit(tmp_path / "whole", []))
