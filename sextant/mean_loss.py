"""The mean of a loss over all samples of an epoch."""

import torch
from torchmetrics import MeanMetric


def mean_loss() -> MeanMetric:
    """A weighted mean over all batches and processes, in float64; NaN if any of its values is NaN."""
    metric = MeanMetric(nan_strategy=float("nan"))  # "disable" would ignore the weights
    metric.set_dtype(torch.float64)  # float32 loses digits in a sum over millions of tokens
    return metric
