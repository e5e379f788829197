"""A LightningModule and a LightningDataModule of one's own whose runs can be killed anywhere and resumed exactly.

    python exact_resume.py --folder=whole
    python exact_resume.py --folder=killed --kill_at=25
    python exact_resume.py --folder=killed

The first and the third command print the same figure, which is made of every bit of the weights.
"""

import argparse
import hashlib
import os
import signal
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchmetrics import MeanMetric

from sextant.datamodule import BaseDataModule
from sextant.resume.exact_resume import exact_resume
from sextant.resume.recovery_checkpoint import RecoveryCheckpoint


class Points(Dataset[dict[str, Tensor]]):
    """Points in a plane with what is to be learned of them; asked for a whole batch at once."""

    def __init__(self, size: int) -> None:
        self.x = torch.randn(size, 2, generator=torch.Generator().manual_seed(0))
        self.y = self.x.prod(1).sin()

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, indices: list[int]) -> dict[str, Tensor]:
        return {"x": self.x[indices], "y": self.y[indices], "index": torch.tensor(indices)}


class PointsData(BaseDataModule):
    """The loader knows the epoch and the step, and shuffles by them alone."""

    def __init__(self, batch_size: int = 32, num_workers: int = 2, seed: int = 0) -> None:
        super().__init__(num_workers, seed)
        self.batch_size = batch_size

    def train_dataloader(self) -> DataLoader:
        return self.loader(Points(500), training=True)

    def val_dataloader(self) -> DataLoader:
        return self.loader(Points(100))

    def transform(self, batch: dict[str, Tensor], training: bool) -> dict[str, Tensor]:
        """Noise that is drawn in training is a function of the seed and the step."""
        return batch | {"x": batch["x"] + 0.1 * torch.randn_like(batch["x"])} if training else batch


class Regression(LightningModule):
    """Any LightningModule. Its torchmetrics are carried over the restart too."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 1))
        self.mean_loss = MeanMetric()

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        loss = nn.functional.mse_loss(self.network(batch["x"]).squeeze(1), batch["y"])
        self.mean_loss.update(loss.detach(), len(batch["y"]))
        return loss

    def on_train_epoch_end(self) -> None:
        print(f"epoch {self.current_epoch}: mean loss {self.mean_loss.compute().item():.6f}")
        self.mean_loss.reset()

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        nn.functional.mse_loss(self.network(batch["x"]).squeeze(1), batch["y"])

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), 0.01)
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)]


class KillAt(Callback):
    """The end of this process after a step, as of a machine that is switched off."""

    def __init__(self, step: int | None) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def train(folder: Path, kill_at: int | None) -> None:
    seed_everything(0)
    model = Regression()
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=4,
        logger=False,
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        **exact_resume(callbacks=[KillAt(kill_at)], every_n_steps=10),
    )
    last = folder / "checkpoints" / "last.ckpt"
    assert RecoveryCheckpoint.folder(trainer) == last.parent
    trainer.fit(model, PointsData(), ckpt_path=last if last.exists() else None)
    weights = b"".join(weight.detach().numpy().tobytes() for weight in model.parameters())
    print(f"{trainer.global_step} steps, weights {hashlib.sha256(weights).hexdigest()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="of the run")
    parser.add_argument("--kill_at", type=int, help="the step after which this process kills itself")
    train(**vars(parser.parse_args()))
