"""An exponential moving average of the weights that can be used from the first steps on."""

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from typing_extensions import override


class EMAWeightAveraging(WeightAveraging):
    """The moving average of the weights, which is validated and saved, while training goes on with the weights.

    Lightning's callback does the work, this one sets the decay: after ``n`` updates it is
    ``min(decay, (1 + n) / (10 + n))``, so that the initial random weights are forgotten at once. The source of the
    formula is TensorFlow's ExponentialMovingAverage with ``num_updates``. With a constant decay of 0.999, as in
    Lightning's ``EMAWeightAveraging``, the average is of little use for the first few thousand steps.

    Args:
        decay: the factor of the average in an update in the long run, in [0, 1).
    """

    def __init__(self, decay: float = 0.999) -> None:
        self.decay = decay
        super().__init__(use_buffers=True, avg_fn=self._average)
        self._validating = False

    @override
    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_epoch_start(trainer, pl_module)
        self._validating = True

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_epoch_end(trainer, pl_module)
        self._validating = False

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if self._validating and "current_model_state" in checkpoint:  # the module has the average, and the reverse
            weights = checkpoint["state_dict"]
            checkpoint["state_dict"] = checkpoint["current_model_state"]
            checkpoint["current_model_state"] = weights

    @override
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn == "fit":  # elsewhere the weights in the checkpoint are the average already
            super().on_load_checkpoint(trainer, pl_module, checkpoint)

    def _average(self, average: Tensor, current: Tensor, updates: Any) -> Tensor:
        updates = int(updates)
        decay = min(self.decay, (1 + updates) / (10 + updates))
        if not average.is_floating_point():  # batch norm's count of batches
            return current
        return torch.lerp(average, current.to(average.dtype), 1 - decay)
