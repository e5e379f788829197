"""The figure of the batches is that of the sampler."""

from typing import Any, cast

import numpy as np

from callbacks.dynamic_batches import draw_lengths
from sextant.samplers.dynamic import DynamicBatchSampler


def test_histogram_counts_all_examples_over_the_edges_of_the_batches() -> None:
    lengths = np.random.default_rng(0).uniform(1, 9, 200)
    sampler = DynamicBatchSampler(lengths, 40.0, padding=0.1)
    figure = draw_lengths(sampler)
    examples, batches = cast(list[Any], figure.axes)
    assert sum(bar.get_height() for bar in examples.patches) == 200
    (lines,) = batches.collections
    edges = sorted({path.vertices[0, 0] for path in lines.get_paths()})
    assert edges == sorted(set(sampler.batch_edges()))
    figure.canvas.draw()
