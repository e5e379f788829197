"""The loss over a large vocabulary, without the logits of a whole batch.

torch 2.14 has a chunked ``linear_cross_entropy`` too. In bfloat16 it also returns the loss in bfloat16, which is off by
0.05 at a loss of 10, too much for a perplexity; this one returns it in float32, at the same speed.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def linear_cross_entropy(features: Tensor, output: nn.Linear, target: Tensor, chunk: int) -> Tensor:
    """Cross-entropy of an output layer's logits, of which only ``chunk`` rows exist at a time.

    Under autocast the matrices are multiplied in its type while training, as ``output`` itself would; without
    gradients, that is in evaluation, always in float32.

    Args:
        features: float (N, D).
        output: layer from D to V classes.
        target: int64 (N,), between 0 and V - 1.
        chunk: rows at a time; 0 for all at once, which takes memory for several times N x V values.

    Returns:
        The mean over N, float32 ().
    """
    device = features.device.type
    if not torch.is_grad_enabled():
        with torch.autocast(device, enabled=False):
            losses = [
                F.cross_entropy(output(rows.float()), targets, reduction="sum")
                for rows, targets in zip(
                    features.split(chunk or len(target)), target.split(chunk or len(target)), strict=True
                )
            ]
        return torch.stack(losses).sum() / len(target)
    if not chunk:
        return F.cross_entropy(output(features).float(), target)
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else features.dtype
    return _LinearCrossEntropy.apply(features, output.weight, output.bias, target, chunk, dtype)


class _LinearCrossEntropy(torch.autograd.Function):
    """The loss and its gradients in one pass, while a chunk's logits are in memory, so that none is computed twice.

    The idea is that of Hsu et al. 2024 (Liger Kernel, https://arxiv.org/abs/2410.10989, section 3.2).
    """

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        chunk: int,
        dtype: torch.dtype,
    ) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            rows, full = min(chunk, len(target)), torch.float32
            x, w = features.to(dtype), weight.to(dtype)
            loss = torch.zeros((), device=x.device)
            features_gradient = torch.empty_like(x, dtype=full)
            weight_gradient = torch.zeros_like(w, dtype=full)
            bias_gradient = None if bias is None else torch.zeros_like(bias, dtype=full)
            # The same memory for each chunk: to allocate it again would cost as much as the arithmetic.
            all_logits = torch.empty(rows, len(w), device=x.device, dtype=full)
            all_low = all_logits if dtype == full else torch.empty_like(all_logits, dtype=dtype)
            part = weight_gradient if dtype == full else torch.empty_like(w)
            for some, right, gradient in zip(
                x.split(rows), target[:, None].split(rows), features_gradient.split(rows), strict=True
            ):
                logits, low = all_logits[: len(some)], all_low[: len(some)]
                torch.mm(some, w.t(), out=low)
                if dtype != full:
                    logits.copy_(low)
                if bias is not None:
                    logits += bias
                logits -= logits.amax(1, keepdim=True)
                loss -= logits.gather(1, right).sum()
                total = logits.exp_().sum(1, keepdim=True)
                loss += total.log().sum()
                # The gradient of the logits: the probabilities, less 1 at the target.
                logits /= total
                logits.scatter_add_(1, right, -torch.ones_like(right, dtype=full))
                if bias_gradient is not None:
                    bias_gradient += logits.sum(0)
                if dtype == full:
                    weight_gradient.addmm_(logits.t(), some)
                else:
                    low.copy_(logits)
                    weight_gradient += torch.mm(low.t(), some, out=part)
                gradient.copy_(low @ w)
        ctx.gradients = (features_gradient, weight_gradient, bias_gradient)
        ctx.types = (features.dtype, weight.dtype, None if bias is None else bias.dtype)
        ctx.count = len(target)
        return loss / len(target)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("linear_cross_entropy keeps its gradients for one backward pass only.")
        factor = gradient / ctx.count
        scaled = [
            None if part is None else part.mul_(factor).to(dtype)
            for part, dtype in zip(ctx.gradients, ctx.types, strict=True)
        ]
        ctx.gradients = None
        return (*scaled, None, None, None)
