"""Batch normalization of two processes is that of one process with the images of both."""

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from typing_extensions import override

from sextant.strategies.synced_batch_norm import SyncedBatchNorm
from tests.ranks import Ranks

IMAGES = (slice(0, 3), slice(3, 4))  # the processes have three images and one


def make() -> tuple[nn.Sequential, Tensor]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3, momentum=0.3), nn.ReLU(), nn.Conv2d(3, 1, 1))
    return network.double(), 5 + 3 * torch.randn(4, 2, 6, 5, dtype=torch.float64)


def pass_through(network: nn.Module, image: Tensor) -> dict[str, Tensor]:
    image.requires_grad_()
    output = network(image)
    output.square().sum().backward()
    values = {f"grad of {name}": p.grad for name, p in network.named_parameters() if p.grad is not None}
    assert image.grad is not None
    return values | dict(network.named_buffers()) | {"output": output.detach(), "grad of image": image.grad}


def work(path: Path) -> None:
    rank = int(os.environ["LOCAL_RANK"])
    if not dist.is_initialized():
        dist.init_process_group("gloo", rank=rank, world_size=2)
    network, image = make()
    SyncedBatchNorm().apply(network)
    assert type(network[1]) is not nn.BatchNorm2d
    values = pass_through(network, image[IMAGES[rank]].clone())
    for name, value in values.items():
        if name.startswith("grad of ") and name != "grad of image":
            dist.all_reduce(value)
    torch.save(values, path / f"{rank}.pt")
    network.eval()(image)  # with the running statistics, without the other process
    SyncedBatchNorm().revert(network)
    assert type(network[1]) is nn.BatchNorm2d


def test_layers_on_gpus_are_those_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "get_backend", lambda: "nccl")
    network, _ = make()
    names = network.state_dict().keys()
    layers = [*SyncedBatchNorm().apply(network).modules()]
    assert any(isinstance(layer, nn.SyncBatchNorm) for layer in layers)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in layers)
    assert network.state_dict().keys() == names


class Doubled(nn.BatchNorm2d):
    """Batch normalization of its own kind."""

    @override
    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


def test_layers_of_a_kind_of_their_own_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a subclass does beside the normalization would be lost."""
    monkeypatch.setattr(dist, "get_backend", lambda: "gloo")
    network = nn.Sequential(nn.BatchNorm2d(2), Doubled(2), nn.Sequential(Doubled(2)))
    kinds = [type(layer) for layer in network.modules()]
    SyncedBatchNorm().apply(network)
    for layer, kind in zip(network.modules(), kinds, strict=True):
        assert (type(layer) is kind) == (kind is not nn.BatchNorm2d), kind
    SyncedBatchNorm().revert(network)
    assert [type(layer) for layer in network.modules()] == kinds


def test_statistics_and_gradients_are_those_of_all_images(two_ranks: Ranks, tmp_path: Path) -> None:
    network, image = make()
    whole = pass_through(network, image.clone())
    two_ranks.run(work, tmp_path)
    for rank, images in enumerate(IMAGES):
        values = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert values.keys() == whole.keys()
        for name, value in values.items():
            expected = whole[name][images] if name in ("output", "grad of image") else whole[name]
            assert torch.allclose(value, expected, rtol=1e-5, atol=1e-6), name
