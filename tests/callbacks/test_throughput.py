"""The speed of training."""

import time
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader
from typing_extensions import override

from callbacks.throughput import Throughput
from sextant.loaders import TimedDataLoader
from tests.callbacks.small_run import Plain, loader, logged, trainer

WAIT = 0.05  # seconds before each batch


class Slow(LightningDataModule):
    """Images that are counted, each batch of which has to be waited for."""

    def units(self, batch: Any) -> dict[str, float]:
        return {"images": len(batch[1]), "pixels": 64 * 64 * len(batch[1])}

    @override
    def train_dataloader(self) -> DataLoader:
        def wait(samples: Any) -> Any:
            time.sleep(WAIT)
            return plain.collate_fn(samples)

        plain = loader()
        return TimedDataLoader(plain.dataset, batch_size=4, collate_fn=wait)


def test_each_unit_has_its_speed_and_the_wait_is_a_fraction_of_the_time(tmp_path: Path) -> None:
    run = trainer(tmp_path, Throughput(), max_epochs=2)
    run.fit(Plain(), Slow())
    points = logged(run)
    images = [point.value for point in points.Scalars("throughput/images_per_second")]
    pixels = [point.value for point in points.Scalars("throughput/pixels_per_second")]
    assert len(images) == 4
    assert pixels == pytest.approx([64 * 64 * speed for speed in images], rel=1e-4)
    assert all(0 < speed <= 4 / WAIT for speed in images[1:])  # the loader is one batch ahead of the first step
    assert all(0 <= point.value <= 1 for point in points.Scalars("throughput/data_wait"))
    assert points.Scalars("throughput/data_wait")[1].value > 0.3
    assert "images/s" in run.progress_bar_metrics
