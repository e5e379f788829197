"""A LightningModule of one's own whose embedding tables are sharded over two processes, killed and resumed exactly.

    python torchrec_tables.py --folder=whole
    python torchrec_tables.py --folder=killed --kill_at=25
    python torchrec_tables.py --folder=killed

The first and the third command print the same figure, which is made of every bit of the weights and the tables.
"""

import argparse
import hashlib
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, KeyedJaggedTensor
from torchrec.optim.apply_optimizer_in_backward import apply_optimizer_in_backward

from sextant.datamodule import BaseDataModule
from sextant.resume.checkpoint_io import AtomicCheckpointIO
from sextant.resume.exact_resume import exact_resume
from sextant.samplers.fixed.even import EvenBatches
from sextant.strategies.torchrec import TorchRecStrategy

TABLES = {"user": 1000, "item": 500}  # rows


class Ratings(Dataset[dict[str, Any]]):
    """Pairs of a user and an item, and whether the user likes it."""

    def __init__(self, size: int) -> None:
        draw = torch.Generator().manual_seed(0)
        self.ids = {name: torch.randint(rows, (size,), generator=draw) for name, rows in TABLES.items()}
        self.likes = ((self.ids["user"] + self.ids["item"]) % 3 == 0).float()

    def __len__(self) -> int:
        return len(self.likes)

    def __getitem__(self, rows: Any) -> dict[str, Any]:
        ids = KeyedJaggedTensor.from_lengths_sync(
            list(TABLES),
            torch.cat([self.ids[name][rows] for name in TABLES]),
            torch.ones(len(TABLES) * len(rows), dtype=torch.int32),
        )
        return {"ids": ids, "likes": self.likes[rows], "index": torch.from_numpy(rows)}


class RatingsData(BaseDataModule):
    """Processes that look up together need as many rows each, which ``EvenBatches`` gives them."""

    def __init__(self, batch_size: int = 64, num_workers: int = 0, seed: int = 0) -> None:
        super().__init__(num_workers, seed)
        self.batch_size = batch_size  # of all processes together

    def train_dataloader(self) -> DataLoader:
        ratings = Ratings(1000)
        order = partial(EvenBatches, len(ratings), self.batch_size, shuffle=True, last_batch="drop")
        return self.loader(ratings, training=True, order=order)


class Recommender(LightningModule):
    """It is written for one device; the strategy shards what ``configure_model`` makes."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: nn.Module | None = None
        self.network = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1))

    def configure_model(self) -> None:
        if self.tables is not None:
            return
        configs = [
            EmbeddingBagConfig(name=name, embedding_dim=16, num_embeddings=rows, feature_names=[name])
            for name, rows in TABLES.items()
        ]
        self.tables = EmbeddingBagCollection(configs, device=torch.get_default_device())
        # The tables are updated within the backward pass, each row where it is.
        apply_optimizer_in_backward(torch.optim.Adagrad, self.tables.parameters(), {"lr": 0.1})

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        assert self.tables is not None
        pooled = self.tables(batch["ids"]).to_dict()
        logits = self.network(torch.cat([pooled[name] for name in TABLES], 1)).squeeze(1)
        return nn.functional.binary_cross_entropy_with_logits(logits, batch["likes"])

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.network.parameters(), 0.01)


class KillAt(Callback):
    """The end of every process after a step, as of a machine that is switched off."""

    def __init__(self, step: int | None) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            trainer.strategy.barrier()
            os.kill(os.getpid(), signal.SIGKILL)


def train(folder: Path, kill_at: int | None) -> None:
    seed_everything(0)
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy=TorchRecStrategy(sharding_types=["row_wise"]),
        max_epochs=3,
        logger=False,
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        **exact_resume(callbacks=[KillAt(kill_at)], every_n_steps=10),
    )
    last = folder / "checkpoints" / "last.ckpt"
    trainer.fit(Recommender(), RatingsData(), ckpt_path=last if last.exists() else None)
    if trainer.is_global_zero:
        weights = AtomicCheckpointIO().load_checkpoint(last)["state_dict"]  # the tables put together
        whole = b"".join(weights[name].numpy().tobytes() for name in sorted(weights))
        print(f"{trainer.global_step} steps, {sorted(weights)}, weights {hashlib.sha256(whole).hexdigest()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="of the run")
    parser.add_argument("--kill_at", type=int, help="the step after which the processes kill themselves")
    train(**vars(parser.parse_args()))
