"""Batch normalization over the images of all processes, on GPUs and on CPUs."""

import torch
import torch.distributed
from lightning.pytorch.plugins.layer_sync import LayerSync, TorchSyncBatchNorm
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from typing_extensions import override


class _SyncedOnCPU(nn.BatchNorm2d):
    """Batch normalization that, while training, sums over the processes, and differentiates through the sums."""

    @override
    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        values = input if input.dtype == torch.float64 else input.float()
        own = values.new_tensor([float(values[:, 0].numel())])
        *_, count = sums = all_reduce(torch.cat([values.sum((0, 2, 3)), own]))
        mean = sums[:-1] / count
        centered = values - mean[:, None, None]
        variance = all_reduce(centered.square().sum((0, 2, 3))) / count
        self._follow(mean, variance * count / (count - 1).clamp(min=1))
        output = centered * (variance + self.eps).rsqrt()[:, None, None]
        if self.affine:
            output = output * self.weight[:, None, None] + self.bias[:, None, None]
        normalized: Tensor = output.to(input.dtype)
        return normalized

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics as :class:`torch.nn.BatchNorm2d` does."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        weight = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, weight)
        self.running_var.lerp_(variance, weight)


class SyncedBatchNorm(LayerSync):
    """Synchronize batch normalization over the processes while training; with one process, do nothing.

    Lightning's ``sync_batchnorm`` does the same on GPUs, and fails on CPUs, for which torch has no such layer.
    """

    @override
    def apply(self, model: nn.Module) -> nn.Module:
        """Make every layer of batch normalization one that is synchronized."""
        if "nccl" in torch.distributed.get_backend():  # the model is moved to the GPU later
            return TorchSyncBatchNorm().apply(model)
        return _change(model, nn.BatchNorm2d, _SyncedOnCPU)

    @override
    def revert(self, model: nn.Module) -> nn.Module:
        """Undo :meth:`apply`."""
        return TorchSyncBatchNorm().revert(_change(model, _SyncedOnCPU, nn.BatchNorm2d))


def _change(model: nn.Module, old: type, new: type) -> nn.Module:
    for layer in model.modules():
        if type(layer) is old:
            layer.__class__ = new  # parameters and statistics are the same
    return model
