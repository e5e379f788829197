"""How good predicted click probabilities are, over all samples of an epoch and of all processes."""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_auroc
from torchmetrics.utilities import dim_zero_cat
from typing_extensions import override


class ClickMetrics(Metric):
    """Normalized entropy, calibration and the area under the ROC curve.

    Args:
        auc: whether the area is measured too: exactly, so that all predictions are kept until the end of the epoch.
    """

    full_state_update = False

    weights: Tensor
    losses: Tensor
    expected_clicks: Tensor
    clicks: Tensor
    probabilities: list[Tensor]
    labels: list[Tensor]

    def __init__(self, auc: bool) -> None:
        super().__init__()
        self.auc = auc
        for name in ("weights", "losses", "expected_clicks", "clicks"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        if auc:
            self.add_state("probabilities", [], dist_reduce_fx="cat")
            self.add_state("labels", [], dist_reduce_fx="cat")

    @override
    def update(self, losses: Tensor, probabilities: Tensor, labels: Tensor, weights: Tensor) -> None:
        """Count samples.

        Args:
            losses: log loss of each in nats, (B,).
            probabilities: predicted, (B,).
            labels: 1 for a click and 0 for none, (B,).
            weights: 1, or 0 for samples that do not count, (B,).
        """
        weights = weights.double()
        self.weights += weights.sum()
        self.losses += (losses * weights).sum()
        self.expected_clicks += (probabilities * weights).sum()
        self.clicks += (labels * weights).sum()
        if self.auc:
            counts = weights > 0
            self.probabilities.append(probabilities[counts])
            self.labels.append(labels[counts].int())

    @override
    def compute(self) -> dict[str, Tensor]:
        """The measures by name, each ().

        ``normalized_entropy``, the log loss by that of always predicting the click rate (He et al. 2014,
        https://doi.org/10.1145/2648584.2648589, section 3.1); ``calibration``, the expected clicks by the clicks. Both
        are NaN or infinite where no sample has a click, the former also where all have one. With ``auc``, the area
        under the ROC curve.
        """
        loss, rate = self.losses / self.weights, self.clicks / self.weights
        entropy = -torch.special.xlogy(rate, rate) - torch.special.xlogy(1 - rate, 1 - rate)
        measures = {"normalized_entropy": loss / entropy, "calibration": self.expected_clicks / self.clicks}
        if self.auc:
            measures["auc"] = binary_auroc(dim_zero_cat(self.probabilities), dim_zero_cat(self.labels))
        return measures
