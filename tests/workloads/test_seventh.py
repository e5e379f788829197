"""A seventh workload: four files in a folder of its own, nothing edited, and all workloads' tests pass for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launch import finish, start
from tests.workloads.runs import Runner, assert_same_training
from tests.workloads.workload import Workload

ROOT = Path(__file__).resolve().parents[2]

MODULE = '''
"""House prices: features of a house in, its price out."""

from typing import Any

import torch.nn.functional as F
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn
from torchmetrics import MeanAbsoluteError, MetricCollection

from sextant.module import BaseModule


class PriceRegressor(BaseModule):
    """Predict prices by a multilayer perceptron.

    Batch: ``features`` float (B, num_features); ``price`` float (B,).
    """

    headline = "error"

    def __init__(self, optimizer: OptimizerCallable, num_features: int = 4, dim: int = 16) -> None:
        super().__init__(optimizer)
        self.network = nn.Sequential(nn.Linear(num_features, dim), nn.GELU(), nn.Linear(dim, 1), nn.Flatten(0))
        self.add_metrics({"error": MeanAbsoluteError()})

    def step(self, batch: dict[str, Tensor], metrics: MetricCollection) -> dict[str, Any]:
        price = self.network(batch["features"])
        loss = F.mse_loss(price, batch["price"])
        metrics["loss"].update(loss.detach(), len(price))
        metrics["error"].update(price, batch["price"])
        return {"loss": loss}

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> list[dict[str, Any]]:
        return [{"price": price} for price in self.network(batch["features"]).tolist()]
'''

DATA = '''
"""Houses whose prices are a linear function of their features, and noise."""

import torch
from torch import Tensor
from torch.utils.data import Dataset

from sextant.datamodule import BaseDataModule
from sextant.loaders import TimedDataLoader

PRICES = torch.tensor([3.0, -1.0, 0.5, 2.0])
NOISE = 0.1


class Houses(Dataset):
    """Batches of ``features`` float (B, 4), ``price`` float (B,) and ``index`` int64 (B,)."""

    def __init__(self, count: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.features = torch.randn(count, len(PRICES), generator=generator)
        self.price = self.features @ PRICES + NOISE * torch.randn(count, generator=generator)

    def __len__(self) -> int:
        return len(self.price)

    def __getitem__(self, indices: list[int]) -> dict[str, Tensor]:
        index = torch.tensor(indices)
        return {"features": self.features[index], "price": self.price[index], "index": index}


class HousePrices(BaseDataModule):
    """Synthetic houses."""

    synthetic = True

    def __init__(self, batch_size: int = 16, num_workers: int = 0, seed: int = 0) -> None:
        super().__init__(num_workers, seed)
        self.batch_size = batch_size
        self.sets = {"train": Houses(160, 0), "val": Houses(30, 1), "test": Houses(30, 2)}

    def train_dataloader(self) -> TimedDataLoader:
        return self.loader(self.sets["train"], training=True)

    def val_dataloader(self) -> TimedDataLoader:
        return self.loader(self.sets["val"])

    def test_dataloader(self) -> TimedDataLoader:
        return self.loader(self.sets["test"])

    def predict_dataloader(self) -> TimedDataLoader:
        return self.loader(self.sets["test"])

    def sample_names(self, batch: dict[str, Tensor]) -> list[str]:
        return [f"house {index}" for index in batch["index"].tolist()]
'''

CONFIG = """
model:
  class_path: price_regressor.PriceRegressor
  init_args:
    optimizer:
      class_path: torch.optim.Adam
      init_args: {lr: 0.03}
data:
  class_path: house_prices.HousePrices
trainer:
  max_epochs: 20
  logger:
    init_args: {name: house_prices}
best_checkpoint:
  monitor: val/error
  mode: min
"""

TEST = '''
"""House prices are learned up to their noise."""

import sys
from pathlib import Path

import house_prices
from train import main


def test_prices_are_learned_up_to_their_noise(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    config = Path(__file__).parent / "configs" / "house_prices.yaml"
    cli = main(["fit", f"--config={config}", "--trainer.enable_progress_bar=false"])
    assert cli.trainer.callback_metrics["val/error"] < 3 * house_prices.NOISE
'''


@pytest.fixture
def four_files(tmp_path: Path) -> Path:
    """The folder of the workload."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "price_regressor.py").write_text(MODULE)
    (tmp_path / "house_prices.py").write_text(DATA)
    (tmp_path / "configs" / "house_prices.yaml").write_text(CONFIG)
    (tmp_path / "test_house_prices.py").write_text(TEST)
    return tmp_path


def run_tests(folder: Path, *arguments: str) -> str:
    """Run pytest with the workloads of the folder, and return what it printed."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={folder / 'tests'}"]
    command += [f"--rootdir={ROOT}", f"--configs={folder / 'configs'}", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}
    for name in [name for name in environment if name.startswith("PYTEST")]:
        del environment[name]
    result = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_workload_of_four_files_is_killed_resumed_and_predicts(
    four_files: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(four_files)
    workload = Workload(four_files / "configs" / "house_prices.yaml")
    config = f"--config={workload.config}"
    runner = Runner(workload, [config], tmp_path_factory.mktemp("runs"), epochs=2)
    whole = runner.whole()
    assert_same_training(whole, runner.resumed(runner.killed()))
    finish(
        [start(["predict", config, "--ckpt_path=best"], whole.folder, log=whole.folder / "log")], whole.folder / "log"
    )
    assert len((whole.folder / "predictions.csv").read_text().splitlines()) == 1 + 30


@pytest.mark.slow
def test_workload_of_four_files_passes_all_tests_of_the_workloads(four_files: Path) -> None:
    tests = [str(ROOT / "tests" / "workloads" / f"test_{name}.py") for name in ("alone", "two_processes")]
    output = run_tests(four_files, *tests, str(four_files / "test_house_prices.py"))
    assert "15 passed" in output
