"""What an app need not do: images from bytes, and labels instead of scores, inside the exported graph."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from sextant.errors import InputError
from sextant.export.graph import BATCH, Axis, ExportGraph, GraphInput
from sextant.normalization import denormalize

Preprocessing = Literal["none", "normalize", "resize"]


class FromBytes(nn.Module):
    """Make what a network takes of images as cameras and files have them.

    Args:
        mean: of each channel, as a fraction of 255.
        std: deviation of each channel, likewise.
        size: height and width that images are stretched to; None leaves them as they are.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], size: tuple[int, int] | None) -> None:
        super().__init__()
        self.size = None if size is None else list(size)
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    @override
    def forward(self, pixels: Tensor) -> Tensor:
        """Red, green, blue uint8 (B, H, W, 3) to normalized float (B, 3, H, W)."""
        image = pixels.permute(0, 3, 1, 2).float() / 255
        if self.size is not None:
            image = F.interpolate(image, self.size, mode="bilinear", antialias=True)
        return (image - self.mean) / self.std


class OneOutput(nn.Module):
    """A network that gives a dictionary of outputs, reduced to one of them.

    Args:
        network: an image to a dictionary.
        name: of the output.
    """

    def __init__(self, network: nn.Module, name: str) -> None:
        super().__init__()
        self.network = network
        self.name = name

    @override
    def forward(self, image: Tensor) -> Tensor:
        """Images to that output."""
        output: Tensor = self.network(image)[self.name]
        return output


class Deciding(nn.Module):
    """A network followed by its decision.

    Args:
        network: images to scores.
        decide: scores to class ids.
        dtype: of these.
    """

    def __init__(self, network: nn.Module, decide: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network
        self.decide = decide
        self.dtype = dtype

    @override
    def forward(self, image: Tensor) -> Tensor:
        """Images to class ids."""
        ids: Tensor = self.decide(self.network(image)).to(self.dtype)
        return ids


def with_images(
    graph: ExportGraph,
    size: tuple[int, int] | None,
    preprocessing: Preprocessing,
    argmax: bool,
    normalization: tuple[Sequence[float], Sequence[float]],
) -> ExportGraph:
    """Change what a network of images takes and gives.

    Args:
        graph: takes images only, normalized float (B, 3, H, W).
        size: height and width of the one image that it shall take; None leaves batch and size free.
        preprocessing: ``normalize`` takes bytes (B, H, W, 3) instead, ``resize`` takes them at any size and stretches
            them to ``size``.
        argmax: give class ids instead of scores.
        normalization: mean and deviation of each channel, as fractions of 255.

    Raises:
        InputError: ``resize`` without a ``size``.
    """
    if preprocessing == "resize" and size is None:
        raise InputError("--preprocessing=resize stretches images to one size: say which with --size=[400,400].")
    if size is not None:
        lows = [axis.low for axis in graph.inputs[0].shape if isinstance(axis, Axis) and axis is not BATCH]
        if any(side < low for side, low in zip(size, lows, strict=True)):
            raise InputError(f"--size={list(size)} is too small for the network: at least {lows} pixels.")
    network, decide, outputs = graph.network, graph.decide, graph.outputs
    if argmax:
        if graph.gives_dictionary:
            network = OneOutput(network, outputs[0])
        network = Deciding(network, decide, torch.uint8 if 0 < len(graph.names) <= 256 else torch.int64)
        decide, outputs = nn.Identity(), ("labels",)
    shape = graph.inputs[0].shape if size is None else (1, 3, *size)
    inputs = (GraphInput("image", shape),)
    if preprocessing != "none":
        inside = size if preprocessing == "resize" else None
        network = nn.Sequential(FromBytes(*normalization, inside), network)
        batch, _, height, width = graph.inputs[0].shape if inside else shape
        inputs = (GraphInput("pixels", (1 if inside else batch, height, width, 3), torch.uint8),)

    def fit(image: Tensor) -> tuple[Tensor]:
        if size is not None and preprocessing != "resize":
            image = F.interpolate(image, size, mode="bilinear", antialias=True)
        return (image if preprocessing == "none" else to_bytes(image, *normalization),)

    def restore(outputs: tuple[Tensor, ...], image: Tensor) -> Tensor:
        scores = outputs[0]
        if argmax:
            scores = F.one_hot(scores.long(), len(graph.names)).movedim(-1, 1).float()
        return F.interpolate(scores, image.shape[2:], mode="bilinear") if scores.ndim == 4 else scores

    return replace(
        graph,
        network=network,
        inputs=inputs,
        outputs=outputs,
        decide=decide,
        fit=fit,
        restore=restore,
        about={
            **graph.about,
            "pixels": "an image's bytes, row by row, each pixel red, green, blue",
            "labels": "class ids",
        },
        details={
            **graph.details,
            "preprocessing": {"included": preprocessing, "size": None if size is None else list(size)},
        },
    )


def to_bytes(image: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Undo the normalization: float (B, 3, H, W) to uint8 (B, H, W, 3)."""
    return denormalize(image, mean, std).permute(0, 2, 3, 1).contiguous()
