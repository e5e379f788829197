"""DeepLabV3 (Chen et al. 2017, https://arxiv.org/abs/1706.05587) from torchvision's parts."""

import warnings
from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.segmentation import DeepLabV3
from torchvision.models.segmentation.deeplabv3 import DeepLabHead
from torchvision.models.segmentation.fcn import FCNHead
from typing_extensions import override

from modules.networks.pretrained import read_weights
from sextant.errors import InputError

Backbone = Literal["resnet50", "resnet101", "mobilenet_v3_large"]
RATES = (12, 24, 36)  # torchvision's dilations in the pyramid, at the output stride of its own builders
NATIVE_STRIDE = {"resnet50": 8, "resnet101": 8, "mobilenet_v3_large": 16}
LAST_LAYERS = {"classifier.4.weight", "classifier.4.bias"}
Rename = Callable[[str], str | None]


class FullResolution(DeepLabV3):
    """torchvision's network, with its outputs upsampled to the image's size in single precision.

    In half precision, rounding would give classes equal logits, and argmax would take the first of them.
    """

    @override
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.backbone(x)
        heads = {"out": self.classifier(features["out"])}
        if self.aux_classifier is not None:
            heads["aux"] = self.aux_classifier(features["aux"])
        size = x.shape[-2:]
        return {name: F.interpolate(scores.float(), size, mode="bilinear") for name, scores in heads.items()}


def deeplab(
    backbone: Backbone,
    num_classes: int,
    output_stride: Literal[8, 16],
    auxiliary: bool,
    weights: str | None = None,
    backbone_weights: str | None = None,
) -> DeepLabV3:
    """A DeepLabV3.

    The dilations of the pyramid are torchvision's at the output stride of its own builders (8 for ResNets, 16 for
    MobileNetV3) and change with the stride, so that they span the same pixels: for ResNets 12, 24, 36 at 8 and 6, 12,
    18 at 16, as in the paper. The names in the state dict are those of torchvision.

    Args:
        backbone: the network that computes the features.
        num_classes: number of outputs.
        output_stride: pixels between two features.
        auxiliary: whether there is a second head, on features from the middle of the backbone.
        weights: pretrained weights of the whole: a name of torchvision's (``COCO_WITH_VOC_LABELS_V1``, ``DEFAULT``;
            downloaded on first use), or the path of a file with a state dict or a checkpoint of this project. Heads for
            another number of classes keep random last layers, and a warning says so.
        backbone_weights: pretrained weights of the backbone alone: a name of torchvision's (``IMAGENET1K_V1``), or the
            path of a file with a classifier's state dict or a checkpoint of :class:`modules.resnet.ImageClassifier`.

    Returns:
        float (B, 3, H, W) -> ``out`` and, with an auxiliary head, ``aux``, float (B, num_classes, H, W).

    Raises:
        InputError: there are no such weights, or they belong to another network.
    """
    if weights is not None and backbone_weights is not None:
        raise InputError(
            "model.weights has the backbone's weights already. Give model.weights or model.backbone_weights, not both."
        )
    network = _build(backbone, num_classes, output_stride, auxiliary)
    if weights is not None:
        _load(network, read_weights(f"deeplabv3_{backbone}", weights, "model.weights"), weights, _whole)
    if backbone_weights is not None:
        state = read_weights(backbone, backbone_weights, "model.backbone_weights")
        _load(network.backbone, state, backbone_weights, _features if "mobilenet" in backbone else _residual)
    return network


def pretrained_classes(backbone: Backbone, weights: str | None) -> list[str]:
    """The names of the classes that torchvision's weights of a name were trained on; empty for other weights."""
    names = get_model_weights(f"deeplabv3_{backbone}").__members__
    if weights not in names:
        return []
    return [name.strip("_") for name in names[weights].meta["categories"]]  # one is __background__


def _build(backbone: Backbone, num_classes: int, output_stride: int, auxiliary: bool) -> DeepLabV3:
    if backbone == "mobilenet_v3_large":
        features = get_model(backbone, weights=None, dilated=True).features
        for layer in features.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = 0.1  # as in ResNets; torchvision's 0.01 takes a thousand steps from random weights
        strided = [i for i, block in enumerate(features) if getattr(block, "_is_cn", False)]
        if output_stride == 8:
            # The stride of the last but one strided block becomes dilation, of it and of all that follow it.
            for convolution in features[strided[-2] :].modules():
                if isinstance(convolution, nn.Conv2d) and convolution.kernel_size[0] > 1:
                    convolution.stride = (1, 1)
                    convolution.dilation = tuple(2 * rate for rate in convolution.dilation)
                    convolution.padding = tuple(2 * int(pixels) for pixels in convolution.padding)
        last, middle = str(len(features) - 1), str(strided[-3])
        channels, middle_channels = features[-1].out_channels, features[strided[-3]].out_channels
    else:
        features = get_model(backbone, weights=None, replace_stride_with_dilation=[False, output_stride == 8, True])
        last, middle, channels, middle_channels = "layer4", "layer3", 2048, 1024
    layers = {last: "out"} | ({middle: "aux"} if auxiliary else {})
    rates = [rate * NATIVE_STRIDE[backbone] // output_stride for rate in RATES]
    return FullResolution(
        IntermediateLayerGetter(features, return_layers=layers),
        DeepLabHead(channels, num_classes, rates),
        FCNHead(middle_channels, num_classes) if auxiliary else None,
    )


def _whole(name: str) -> str | None:
    return name


def _residual(name: str) -> str | None:
    return None if name.startswith("fc.") else name


def _features(name: str) -> str | None:
    return name.removeprefix("features.") if name.startswith("features.") else None


def _load(network: nn.Module, state: dict[str, Tensor], source: str, rename: Rename) -> None:
    """Load weights under the names that ``rename`` gives them; None leaves a weight out."""
    own = network.state_dict()
    renamed = {new: value for name, value in state.items() if (new := rename(name)) is not None}
    fitting = {name: value for name, value in renamed.items() if name in own and own[name].shape == value.shape}
    missing = own.keys() - fitting.keys()
    replaceable = {name for name in own if name.startswith("aux_classifier.")} | LAST_LAYERS
    if wrong := missing - replaceable:
        raise InputError(
            f"{source}: not the weights of this network: {len(wrong)} of {len(own)} tensors are missing or of another "
            f"shape, {min(wrong)!r} among them. Check model.backbone."
        )
    if missing:
        warnings.warn(
            f"{source} has no weights that fit {', '.join(sorted(missing))}: these start from random ones.",
            stacklevel=2,
        )
    network.load_state_dict(fitting, strict=False)
