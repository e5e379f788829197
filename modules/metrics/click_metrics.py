"""How good predicted click probabilities are, over all samples of an epoch and of all processes."""

import torch
from torch import Tensor, nn
from torchmetrics.classification import BinaryAUROC
from typing_extensions import override

from sextant.mean_loss import mean_loss


class ClickRates(nn.Module):
    """Log loss, normalized entropy and calibration."""

    def __init__(self) -> None:
        super().__init__()
        self.loss, self.prediction, self.label = mean_loss(), mean_loss(), mean_loss()

    def update(self, losses: Tensor, probabilities: Tensor, labels: Tensor, weights: Tensor) -> None:
        """Count samples.

        Args:
            losses: log loss of each, (B,).
            probabilities: predicted probabilities, (B,).
            labels: 1 for a click and 0 for none, (B,).
            weights: 1, or 0 for samples that do not count, (B,).
        """
        self.loss.update(losses, weights)
        self.prediction.update(probabilities, weights)
        self.label.update(labels, weights)

    def compute(self) -> dict[str, Tensor]:
        """``loss``, ``normalized_entropy`` and ``calibration``.

        The last two are NaN or infinite where there are no clicks, or nothing else.
        """
        loss, rate = self.loss.compute(), self.label.compute()
        entropy = -torch.special.xlogy(rate, rate) - torch.special.xlogy(1 - rate, 1 - rate)
        return {"loss": loss, "normalized_entropy": loss / entropy, "calibration": self.prediction.compute() / rate}

    def reset(self) -> None:
        """Forget all samples."""
        for metric in self.children():
            metric.reset()  # type: ignore[operator]


class ClickMetrics(ClickRates):
    """The area under the ROC curve as well, exactly: all predictions are kept until the end."""

    def __init__(self) -> None:
        super().__init__()
        self.auc = BinaryAUROC()

    @override
    def update(self, losses: Tensor, probabilities: Tensor, labels: Tensor, weights: Tensor) -> None:
        super().update(losses, probabilities, labels, weights)
        counts = weights > 0
        self.auc.update(probabilities[counts], labels[counts].int())

    @override
    def compute(self) -> dict[str, Tensor]:
        return {**super().compute(), "auc": self.auc.compute()}
