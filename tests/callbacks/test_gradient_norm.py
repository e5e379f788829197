"""The norm of the gradients."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader
from typing_extensions import override

from callbacks.gradient_norm import GradientNorm
from tests.callbacks.small_run import Plain, loader, logged, trainer


def test_norm_is_that_of_all_gradients_before_clipping(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, batches = Plain(), loader()
    module.loss(next(iter(batches))).backward()
    expected = torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None]).norm().item()
    module.zero_grad()
    run = trainer(tmp_path, GradientNorm(), gradient_clip_val=0.01)
    run.fit(module, batches)
    points = logged(run).Scalars("gradient_norm")
    assert points[0].value == pytest.approx(expected, rel=1e-5)
    assert len(points) == 2


def test_norm_is_computed_for_logged_steps_only(tmp_path: Path) -> None:
    run = trainer(tmp_path, GradientNorm(), log_every_n_steps=2, max_epochs=2)
    run.fit(Plain(), loader())
    assert [point.step for point in logged(run).Scalars("gradient_norm")] == [1, 3]


def test_norm_is_that_of_the_step_at_which_it_is_logged(tmp_path: Path) -> None:
    norms = []
    for every in (1, 2):
        torch.manual_seed(0)
        run = trainer(tmp_path, GradientNorm(), log_every_n_steps=every, max_epochs=2)
        run.fit(Plain(), loader())
        norms.append({point.step: point.value for point in logged(run).Scalars("gradient_norm")})
    assert len(set(norms[0].values())) == 4
    assert norms[1] == {step: norms[0][step] for step in (1, 3)}


class Sparse(LightningModule):
    """A table of which a batch looks up some rows, one of them twice."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 1, sparse=True)

    @override
    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.table(batch).sum()

    @override
    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_rows_that_come_twice_have_one_gradient(tmp_path: Path) -> None:
    run = trainer(tmp_path, GradientNorm(), limit_train_batches=1)
    run.fit(Sparse(), DataLoader(torch.tensor([1, 3, 3]), batch_size=3))  # type: ignore[arg-type]
    assert [point.value for point in logged(run).Scalars("gradient_norm")] == [pytest.approx(5**0.5)]
