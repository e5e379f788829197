"""Networks that are small, and what is known of them as of the workloads' own."""

from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from sextant.export.graph import BATCH, ArgMax, Axis, ExportGraph, GraphInput

NAMES = ["ground", "cat", "dog", "tree"]
MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]


class Segmenter(nn.Module):
    """Images float (B, 3, H, W) to a dictionary with ``out``, scores (B, 4, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, len(NAMES), 3, padding=1)

    @override
    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"out": self.convolution(image)}


class Classifier(nn.Module):
    """Images float (B, 3, H, W) to scores (B, 4), by way of more or fewer weights."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 4 * width, 3, stride=2, padding=1), nn.ReLU()
        )
        self.output = nn.Linear(4 * width, len(NAMES))

    @override
    def forward(self, image: Tensor) -> Tensor:
        return self.output(self.features(image).mean((2, 3)))


def images(network: nn.Module, **more: Any) -> ExportGraph:
    """A network of images, whose number and size are free."""
    height, width = Axis("height", example=24, low=4), Axis("width", example=20, low=4)
    settings: dict[str, Any] = {
        "network": network.eval().requires_grad_(False),
        "inputs": (GraphInput("image", (BATCH, 3, height, width)),),
        "outputs": ("out",) if isinstance(network, Segmenter) else ("logits",),
        "read": lambda batch: (batch["image"],),
        "decide": ArgMax(1),
        "gives_dictionary": isinstance(network, Segmenter),
        "names": NAMES,
        "image_size": (24, 20),
        "metric": "val/accuracy",
    }
    return ExportGraph(**(settings | more))


def segmenter(**more: Any) -> ExportGraph:
    """Scores for each pixel."""
    torch.manual_seed(0)
    return images(Segmenter(), **more)


def classifier(width: int = 8, **more: Any) -> ExportGraph:
    """Scores for each image."""
    torch.manual_seed(0)
    return images(Classifier(width), **more)


def numbers(network: nn.Module) -> ExportGraph:
    """A network of vectors (B, 5)."""
    return ExportGraph(
        network.eval(), (GraphInput("x", (BATCH, 5)),), ("y",), lambda batch: (batch["x"],), decide=ArgMax(1)
    )
