"""The moving average of the weights."""

import torch

from callbacks.weight_averaging import EMAWeightAveraging


def test_average_follows_the_formula() -> None:
    callback = EMAWeightAveraging(decay=0.5)
    average, current = torch.tensor([0.0]), torch.tensor([1.0])
    assert torch.allclose(callback._average(average, current, torch.tensor(1)), torch.tensor([1 - 2 / 11]))
    assert torch.allclose(callback._average(average, current, 1000), torch.tensor([0.5]))


def test_counters_are_copied() -> None:
    assert EMAWeightAveraging()._average(torch.tensor(3), torch.tensor(7), 5).item() == 7
