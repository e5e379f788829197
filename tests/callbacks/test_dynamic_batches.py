"""The figure of the batches is that of the sampler, and is drawn once."""

import logging
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, TensorDataset
from typing_extensions import override

from callbacks.dynamic_batches import DynamicBatches, draw_lengths
from sextant.samplers.dynamic import DynamicBatchSampler
from tests.callbacks.small_run import Plain, logged, trainer


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


class Batched(LightningDataModule):
    """Eight images in dynamic batches, as if they had lengths."""

    max_batch_length = 20.0

    @override
    def train_dataloader(self) -> DataLoader:
        sampler: Any = DynamicBatchSampler(np.arange(1.0, 9.0), self.max_batch_length)
        images = TensorDataset(torch.randn(8, 3, 64, 64), torch.arange(8))
        return DataLoader(images, batch_size=None, sampler=sampler)


def test_batches_are_drawn_once_where_a_run_begins_and_said_again_where_it_is_gone_on_with(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="lightning.pytorch")
    begun = trainer(tmp_path / "begun", DynamicBatches(), max_epochs=2)
    begun.fit(Plain(), datamodule=Batched())
    begun.save_checkpoint(tmp_path / "last.ckpt")
    log = logged(begun)
    assert [point.step for point in log.Tensors("batches/summary/text_summary")] == [0]
    assert [point.step for point in log.Images("batches/lengths")] == [0]
    assert caplog.text.count("An epoch has 3 batches") == 1
    gone_on = trainer(tmp_path / "gone_on", DynamicBatches(), max_epochs=3)
    gone_on.fit(Plain(), datamodule=Batched(), ckpt_path=tmp_path / "last.ckpt")
    assert gone_on.global_step > begun.global_step
    assert not [tag for tags in logged(gone_on).Tags().values() if isinstance(tags, list) for tag in tags]
    assert caplog.text.count("An epoch has 3 batches") == 2
