"""The mean of a loss is weighted, exact, and shows what is no number."""

import math

import pytest
import torch

from modules.metrics.mean_loss import mean_loss


def test_batches_count_by_their_weights() -> None:
    metric = mean_loss()
    metric.update(torch.tensor(1.0), 3)
    metric.update(torch.tensor([2.0, 6.0]), torch.tensor([1.0, 0.0]))
    assert metric.compute().item() == (3 * 1 + 2) / 4


def test_a_loss_that_is_not_a_number_shows() -> None:
    metric = mean_loss()
    metric.update(torch.tensor(1.0), 3)
    metric.update(torch.tensor(math.nan), 1)
    assert metric.compute().isnan()


def test_single_tokens_count_beside_many() -> None:
    """In float32 one more is lost among so many."""
    metric = mean_loss()
    metric.update(torch.tensor(0.5), 2**27)
    for _ in range(64):
        metric.update(torch.tensor(2.5), 1)
    assert metric.compute().item() == pytest.approx(0.5 + 2 * 64 / (2**27 + 64), rel=1e-9)
