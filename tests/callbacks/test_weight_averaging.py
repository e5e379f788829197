"""The moving average of the weights."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader
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


def batches(count: int) -> DataLoader:
    return DataLoader(torch.zeros(count))  # type: ignore[arg-type]


@pytest.mark.parametrize("decay", [0.22, 0.999])
def test_validation_sees_the_average_of_the_formula_and_training_goes_on_without_it(
    tmp_path: Path, decay: float
) -> None:
    module = Climber()
    run = trainer(tmp_path, EMAWeightAveraging(decay), limit_train_batches=STEPS, num_sanity_val_steps=0)
    run.fit(module, batches(STEPS), batches(1))
    average = 1.0  # the first update takes the weights as they are
    for updates in range(1, STEPS):
        kept = min(decay, (1 + updates) / (10 + updates))
        average = kept * average + (1 - kept) * (updates + 1)
    assert module.validated[0] == pytest.approx(average)
    assert module.validated[1] == STEPS  # a counter is copied
