"""The mean of a loss."""

import torch

from sextant.mean_loss import mean_loss


def test_mean_is_weighted_and_in_double_precision_whatever_the_module_is_turned_into() -> None:
    metric = mean_loss()
    torch.nn.ModuleList([metric]).bfloat16()
    metric.update(torch.tensor(1e8), 1)
    metric.update(torch.tensor(1.0), 3)
    assert metric.compute().item() == (1e8 + 3) / 4
    assert torch.tensor((1e8 + 3) / 4).item() != (1e8 + 3) / 4  # no number of float32 is that


def test_value_that_is_no_number_makes_the_mean_none() -> None:
    metric = mean_loss()
    for value in (1.0, float("nan")):
        metric.update(torch.tensor(value), 3)
    assert metric.compute().isnan()
