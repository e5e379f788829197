"""How large the gradients are."""

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch.optim import Optimizer
from typing_extensions import override


class GradientNorm(Callback):
    """Log ``gradient_norm``, the 2-norm of all gradients before clipping, every ``log_every_n_steps`` steps."""

    @override
    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        # The step is counted after it was done; what is logged then is written to the board.
        if (trainer.global_step + 1) % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            gradients = [
                p.grad.coalesce().values() if p.grad.is_sparse else p.grad
                for p in pl_module.parameters()
                if p.grad is not None
            ]
            pl_module.log("gradient_norm", torch.nn.utils.get_total_norm(gradients))
