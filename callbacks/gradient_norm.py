"""The norm of the gradients."""

import torch
from lightning.pytorch import LightningModule, Trainer
from torch.optim import Optimizer
from typing_extensions import override

from sextant.contracts import Observer
from sextant.lightning_internals import is_logged


class GradientNorm(Observer):
    """The 2-norm of all gradients before clipping, logged as ``gradient_norm`` every ``log_every_n_steps`` steps."""

    @override
    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        # The logger writes after the step was counted.
        if is_logged(trainer, trainer.global_step + 1):
            gradients = [
                p.grad.coalesce().values() if p.grad.is_sparse else p.grad
                for p in pl_module.parameters()
                if p.grad is not None
            ]
            pl_module.log("gradient_norm", torch.nn.utils.get_total_norm(gradients))
