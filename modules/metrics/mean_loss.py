"""The mean of a loss over everything of an epoch."""

import torch
from torchmetrics import MeanMetric


def mean_loss() -> MeanMetric:
    """A weighted mean over all batches and processes; NaN if any part of it is."""
    metric = MeanMetric(nan_strategy=float("nan"))  # a NaN must show: it is replaced by NaN
    metric.set_dtype(torch.float64)  # sums over millions of tokens
    return metric
