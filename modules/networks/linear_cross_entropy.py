"""The loss over a large vocabulary, without the logits of a whole batch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def linear_cross_entropy(features: Tensor, output: nn.Linear, target: Tensor, chunk: int) -> Tensor:
    """Cross-entropy of an output layer's logits, of which only ``chunk`` rows exist at a time.

    torch's own chunked loss does the work from torch 2.14 on; older ones compute all logits at once. It is no
    operation that autocast knows: the cast is done here, as autocast casts ``nn.Linear``.

    Args:
        features: float (N, D).
        output: layer from D to the number of words.
        target: int64 (N,).
        chunk: rows at a time; 0 for all at once.

    Returns:
        The mean over N, a scalar.
    """
    if not chunk or not hasattr(nn, "LinearCrossEntropyOptions"):
        return F.cross_entropy(output(features).float(), target)
    weight: Tensor = output.weight
    bias: Tensor | None = output.bias
    device = features.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        features, weight, bias = features.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    # "compact" multiplies in the given precision, and adds up in float32 where it matters.
    options = nn.LinearCrossEntropyOptions(batch_chunk_size=chunk, chunking_method=None, acc_policy="compact")
    return F.linear_cross_entropy(features, weight, target, linear_bias=bias, options=options)
