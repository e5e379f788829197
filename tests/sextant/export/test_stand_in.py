"""An exported file in the place of a model's forward."""

import torch
from torch import Tensor

from sextant.export.comparison import eager
from sextant.export.images import with_images
from sextant.export.stand_in import stand_in
from tests.sextant.export.graphs import MEAN, STD, segmenter


def test_images_are_run_one_by_one_and_come_back_at_their_size() -> None:
    graph = with_images(segmenter(), (12, 16), "none", False, (MEAN, STD))
    shapes: list[list[int]] = []

    def run(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        shapes.append(list(inputs[0].shape))
        return eager(graph, inputs)

    scores = stand_in(graph, run)(torch.rand(3, 3, 24, 20))
    assert scores.shape == (3, 4, 24, 20)
    assert shapes == [[1, 3, 12, 16]] * 3
