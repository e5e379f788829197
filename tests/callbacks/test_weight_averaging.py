"""The moving average of the weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from typing_extensions import override

from callbacks.weight_averaging import EMAWeightAveraging
from tests.callbacks.small_run import trainer

STEPS = 4


class Climber(LightningModule):
    """Its weight is the number of optimizer steps, and so is its counter."""

    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.validated = (0.0, 0)

    @override
    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.steps += 1
        return -self.weight

    @override
    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.validated = (self.weight.item(), int(self.steps))

    @override
    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


class Normalizer(Climber):
    """Its batch norm has the mean of the last batch."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1, momentum=1.0)

    @override
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.norm(batch[0])
        return super().training_step(batch, batch_idx)

    @override
    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        assert self.norm.running_mean is not None
        assert self.norm.num_batches_tracked is not None
        self.validated = (self.norm.running_mean.item(), int(self.norm.num_batches_tracked))


def batches(count: int) -> DataLoader:
    return DataLoader(torch.zeros(count))  # type: ignore[arg-type]


def average_of_steps(decay: float) -> float:
    """The average of what is 1 after the first step, 2 after the second, and so on."""
    average = 1.0  # the first update takes it as it is
    for updates in range(1, STEPS):
        kept = min(decay, (1 + updates) / (10 + updates))
        average = kept * average + (1 - kept) * (updates + 1)
    return average


@pytest.mark.parametrize("decay", [0.22, 0.999])
def test_validation_sees_the_average_of_the_formula_and_training_goes_on_without_it(
    tmp_path: Path, decay: float
) -> None:
    module = Climber()
    run = trainer(tmp_path, EMAWeightAveraging(decay), limit_train_batches=STEPS, num_sanity_val_steps=0)
    run.fit(module, batches(STEPS), batches(1))
    assert module.validated[0] == pytest.approx(average_of_steps(decay))
    assert module.validated[1] == STEPS  # a counter is copied


def test_statistics_of_batch_norm_are_averaged_too_and_its_count_is_copied(tmp_path: Path) -> None:
    module = Normalizer()
    means = torch.arange(1.0, STEPS + 1)
    data: DataLoader = DataLoader(TensorDataset(torch.stack([means - 1, means + 1], 1)[..., None]), batch_size=None)
    run = trainer(tmp_path, EMAWeightAveraging(), limit_train_batches=STEPS, num_sanity_val_steps=0)
    run.fit(module, data, batches(1))
    assert module.validated == (pytest.approx(average_of_steps(0.999)), STEPS)


class Saves(Callback):
    """Writes a checkpoint wherever one may be written, over the earlier ones of the same place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @override
    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        trainer.save_checkpoint(self.folder / "after_a_step.ckpt")

    @override
    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        trainer.save_checkpoint(self.folder / "within_a_validation.ckpt")

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.save_checkpoint(self.folder / "after_a_validation.ckpt")

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.save_checkpoint(self.folder / "after_an_epoch.ckpt")


def test_checkpoints_have_the_average_as_the_model_and_the_weights_beside_it_wherever_they_are_written(
    tmp_path: Path,
) -> None:
    averaging, saves = EMAWeightAveraging(), Saves(tmp_path / "saved")
    run = trainer(tmp_path, averaging, saves, limit_train_batches=STEPS, num_sanity_val_steps=0)
    run.fit(Climber(), batches(STEPS), batches(1))
    files = sorted(saves.folder.iterdir())
    assert [file.stem for file in files] == [
        *("after_a_step", "after_a_validation", "after_an_epoch", "within_a_validation")
    ]
    for file in files:
        checkpoint = torch.load(file, weights_only=True)
        assert checkpoint["state_dict"]["weight"] == pytest.approx(average_of_steps(0.999)), file.stem
        assert checkpoint["current_model_state"]["weight"] == STEPS, file.stem
