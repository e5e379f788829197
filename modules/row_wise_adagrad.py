"""Row-wise Adagrad: one accumulator for each row of an embedding table."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import override


class RowWiseAdagrad(Optimizer):
    """Adagrad with one accumulator for each row, so that all features of a row have the same learning rate.

    The formula is that of FBGEMM's ``EXACT_ROWWISE_ADAGRAD``, so that a table learns the same with and without
    sharding, except where its columns are sharded: then each part of a row has an accumulator of its own. For a row
    ``w`` with gradient ``g`` of D features: ``s += sum(g^2) / D``, ``w -= lr * g / (sqrt(s) + eps)``. In contrast to
    ``torchrec.optim.RowWiseAdagrad`` it takes sparse gradients, and then touches the rows of the batch only.

    Args:
        params: tables (rows, D), or groups of them.
        lr: learning rate.
        eps: added to the root, so that nothing is divided by zero.
    """

    def __init__(self, params: Any, lr: float = 0.01, eps: float = 1e-8) -> None:
        super().__init__(params, {"lr": lr, "eps": eps})

    @torch.no_grad()
    @override
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self._update(table, table.grad, group["lr"], group["eps"])
        return loss

    def _update(self, table: Tensor, gradient: Tensor, lr: float, eps: float) -> None:
        state = self.state[table]
        if "sum" not in state:
            state["sum"] = table.new_zeros(len(table), 1)
        accumulator = state["sum"]
        if not gradient.is_sparse:
            accumulator += gradient.square().mean(1, keepdim=True)
            table.addcdiv_(gradient, accumulator.sqrt().add_(eps), value=-lr)
            return
        gradient = gradient.coalesce()
        rows, values = gradient.indices()[0], gradient.values()
        accumulator.index_add_(0, rows, values.square().mean(1, keepdim=True))
        table.index_add_(0, rows, values / accumulator[rows].sqrt().add_(eps), alpha=-lr)
