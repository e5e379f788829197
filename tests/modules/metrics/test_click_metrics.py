"""Metrics of clicks against direct formulas."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from modules.metrics.click_metrics import ClickMetrics


def drawn(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Losses, probabilities (some of them equal) and labels."""
    draw = torch.Generator().manual_seed(seed)
    probabilities = torch.randint(1, 20, (count,), generator=draw) / 20
    labels = (torch.rand(count, generator=draw) < probabilities).float()
    labels[:2] = torch.tensor([0.0, 1.0])
    return F.binary_cross_entropy(probabilities, labels, reduction="none"), probabilities, labels


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 60), st.integers(0, 1000), st.integers(1, 20))
def test_metrics_are_those_of_all_samples_however_they_are_batched(count: int, seed: int, size: int) -> None:
    samples = drawn(count, seed)
    metrics = ClickMetrics(auc=True)
    for begin in range(0, count, size):
        batch = [part[begin : begin + size] for part in samples]
        metrics.update(batch[0], batch[1], batch[2], torch.ones(len(batch[0])))
    found = metrics.compute()
    losses, probabilities, labels = (part.double() for part in samples)
    rate = labels.mean().item()
    entropy = -rate * math.log(rate) - (1 - rate) * math.log(1 - rate)
    assert found["normalized_entropy"].item() == pytest.approx(losses.mean().item() / entropy, rel=1e-6)
    assert found["calibration"].item() == pytest.approx(probabilities.sum().item() / labels.sum().item(), rel=1e-6)
    positive, negative = probabilities[labels == 1], probabilities[labels == 0]
    above = (positive[:, None] > negative).double() + (positive[:, None] == negative).double() / 2
    assert found["auc"].item() == pytest.approx(above.mean().item(), abs=1e-6)


def test_constant_prediction_of_the_click_rate_is_normalized_to_one() -> None:
    labels = torch.tensor([1.0, 0.0, 0.0, 0.0])
    probabilities = torch.full((4,), 0.25)
    metrics = ClickMetrics(auc=True)
    metrics.update(
        F.binary_cross_entropy(probabilities, labels, reduction="none"), probabilities, labels, torch.ones(4)
    )
    found = metrics.compute()
    assert found["normalized_entropy"].item() == pytest.approx(1.0)
    assert found["calibration"].item() == pytest.approx(1.0)
    assert found["auc"].item() == 0.5


@pytest.mark.parametrize("auc", [False, True])
def test_samples_of_weight_0_do_not_count(auc: bool) -> None:
    losses, probabilities, labels = drawn(10, 0)
    one, other = ClickMetrics(auc), ClickMetrics(auc)
    one.update(losses, probabilities, labels, torch.ones(10))
    padded: Any = [
        torch.cat([part, part.new_full((3,), value)])
        for part, value in ((losses, 99.0), (probabilities, 0.99), (labels, 0.0))
    ]
    other.update(padded[0], padded[1], padded[2], torch.cat([torch.ones(10), torch.zeros(3)]))
    other.update(padded[0][10:], padded[1][10:], padded[2][10:], torch.zeros(3))  # a batch of nothing else
    expected = one.compute()
    assert other.compute() == {name: pytest.approx(value.item()) for name, value in expected.items()}


def test_nothing_is_left_after_a_reset() -> None:
    one, other = ClickMetrics(auc=True), ClickMetrics(auc=True)
    one.update(*drawn(10, 0), torch.ones(10))
    one.reset()
    for metrics in (one, other):
        metrics.update(*drawn(10, 1), torch.ones(10))
    expected = other.compute()
    assert one.compute() == {name: pytest.approx(value.item()) for name, value in expected.items()}


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_clicks_alone_and_none_at_all_are_no_error(label: float) -> None:
    metrics = ClickMetrics(auc=False)
    labels, probabilities = torch.full((4,), label), torch.full((4,), 0.5)
    metrics.update(
        F.binary_cross_entropy(probabilities, labels, reduction="none"), probabilities, labels, torch.ones(4)
    )
    found = metrics.compute()
    assert not found["normalized_entropy"].isfinite()
    assert found["calibration"].isfinite() == bool(label)


def test_a_loss_that_is_not_a_number_shows() -> None:
    metrics = ClickMetrics(auc=False)
    losses, probabilities, labels = drawn(4, 0)
    losses[2] = math.nan
    metrics.update(losses, probabilities, labels, torch.ones(4))
    assert metrics.compute()["normalized_entropy"].isnan()


def test_single_samples_count_beside_many() -> None:
    """Sums are in float64: in float32 a sample more is lost among millions."""
    metrics = ClickMetrics(auc=False)
    metrics.update(torch.tensor([0.5]), torch.tensor([0.5]), torch.ones(1), torch.tensor([2.0**27]))
    for _ in range(64):
        metrics.update(torch.tensor([2.5]), torch.tensor([1.0]), torch.ones(1), torch.ones(1))
    expected = 0.5 + 0.5 * 64 / (2**27 + 64)
    assert metrics.compute()["calibration"].item() == pytest.approx(expected, rel=1e-9)
