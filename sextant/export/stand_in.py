"""An exported file in the place of a model's network, so that a validation measures it."""

from collections.abc import Callable

import torch
from torch import Tensor

from sextant.export.formats.format import Runner
from sextant.export.graph import ExportGraph


def stand_in(graph: ExportGraph, run: Runner) -> Callable[[Tensor], Tensor]:
    """Make what a model of images has as ``forward``.

    Args:
        graph: what the file holds.
        run: runs the file, or what is measured beside it.

    Returns:
        Takes and gives what ``forward`` does. Images are run one by one.
    """

    def forward(image: Tensor) -> Tensor:
        assert graph.fit is not None
        assert graph.restore is not None
        return torch.cat([graph.restore(run(graph.fit(one)), one) for one in image.split(1)])

    return forward
