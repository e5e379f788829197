"""Residual networks (He et al. 2016, https://arxiv.org/abs/1512.03385) for large and for small images."""

from typing import Literal

from torch import Tensor, nn
from torchvision.models import get_model

from modules.networks.pretrained import read_weights
from sextant.errors import InputError


def resnet(depth: int, num_classes: int, stem: Literal["imagenet", "small"], weights: str | None = None) -> nn.Module:
    """A torchvision ResNet.

    Args:
        depth: 18, 34, 50, 101 or 152.
        num_classes: number of outputs.
        stem: ``imagenet`` is torchvision's (7x7 convolution of stride 2, then pooling), ``small`` a 3x3
            convolution of stride 1 without pooling, which keeps the resolution (He et al. 2016, section 4.2).
        weights: pretrained weights: a name of torchvision's (``IMAGENET1K_V1``, ``DEFAULT``; downloaded on first
            use), or the path of a file with a state dict or a checkpoint of this project. Layers whose shape
            differs (the last layer with another number of classes, a small stem) start from random weights.

    Returns:
        float (B, 3, H, W) -> float (B, num_classes).

    Raises:
        InputError: there are no such weights, or they belong to another network.
    """
    network = get_model(f"resnet{depth}", num_classes=num_classes)
    if stem == "small":
        network.conv1 = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
        network.maxpool = nn.Identity()
    if weights is not None:
        _load_matching(network, read_weights(f"resnet{depth}", weights, "model.weights"), weights)
    return network


def _load_matching(network: nn.Module, state: dict[str, Tensor], source: str) -> None:
    own = network.state_dict()
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    missing = {name for name in own if name not in fitting} - {"conv1.weight", "fc.weight", "fc.bias"}
    if missing:
        raise InputError(
            f"{source}: not the weights of this network (model.weights): {len(missing)} of {len(own)} tensors are "
            f"missing or of another shape, {min(missing)!r} among them. Check model.depth."
        )
    network.load_state_dict(fitting, strict=False)
