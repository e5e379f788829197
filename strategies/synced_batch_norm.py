"""Batch normalisation over the pictures of all processes, on GPUs and on CPUs."""

import torch
import torch.distributed
from lightning.pytorch.plugins.layer_sync import LayerSync, TorchSyncBatchNorm
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from typing_extensions import override


class _SyncBatchNorm(nn.SyncBatchNorm):
    """torch's on a GPU; on a CPU, for which it has none, the same from sums that are differentiated through."""

    @override
    def forward(self, input: Tensor) -> Tensor:
        together = torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1
        if input.device.type != "cpu" or not (together and self.training):
            return super().forward(input)
        dims = [0, *range(2, input.ndim)]
        shape = [1, -1] + [1] * (input.ndim - 2)
        values = input if input.dtype == torch.float64 else input.float()
        count = all_reduce(values.new_tensor([float(input.numel() // input.shape[1])]))
        mean = all_reduce(values.sum(dims)) / count
        centred = values - mean.view(shape)
        variance = all_reduce(centred.square().sum(dims)) / count
        self._follow(mean, variance * count / (count - 1).clamp(min=1))
        output = centred * (variance + self.eps).rsqrt().view(shape)
        if self.weight is not None:
            output = output * self.weight.view(shape) + self.bias.view(shape)
        return output.to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics as :class:`torch.nn.BatchNorm2d` does."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


class SyncedBatchNorm(LayerSync):
    """Synchronise batch normalisation over the processes while training; with one process, do nothing.

    Lightning's ``sync_batchnorm`` does the same on GPUs, and fails on CPUs.
    """

    @override
    def apply(self, model: nn.Module) -> nn.Module:
        """Make every layer of batch normalisation one that is synchronised."""
        converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        for layer in converted.modules():
            if type(layer) is nn.SyncBatchNorm:
                layer.__class__ = _SyncBatchNorm
        return converted

    @override
    def revert(self, model: nn.Module) -> nn.Module:
        """Undo :meth:`apply`."""
        return TorchSyncBatchNorm().revert(model)
