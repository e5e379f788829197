"""The speed of training, by a clock that goes on when it is told to."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset, default_collate
from typing_extensions import override

from callbacks.throughput import Throughput
from sextant.loaders import TimedDataLoader
from tests.callbacks.small_run import Plain, loader, logged, trainer

WAIT, STEP, VALIDATION = 1.0, 2.0, 100.0  # seconds before a batch, in a step, and in a validation


class Clock:
    """In the place of the module ``time``."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Images(LightningDataModule):
    """Eight batches of four images, each of which has to be waited for."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def units(self, batch: Any) -> dict[str, float]:
        return {"images": len(batch[1]), "pixels": 64 * 64 * len(batch[1])}

    @override
    def train_dataloader(self) -> DataLoader:
        def wait(samples: Any) -> Any:
            self.clock.now += WAIT
            return default_collate(samples)

        return TimedDataLoader(
            TensorDataset(torch.zeros(32, 3, 64, 64), torch.arange(32) % 10), batch_size=4, collate_fn=wait
        )

    @override
    def val_dataloader(self) -> DataLoader:
        return loader()


class Timed(Plain):
    """Steps that take their time."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    @override
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.clock.now += STEP
        return super().training_step(batch, batch_idx)

    @override
    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        self.clock.now += VALIDATION
        return super().validation_step(batch, batch_idx)


class Ranks(SingleDeviceStrategy):
    """Three processes that all have the same."""

    @override
    def reduce(self, tensor: Any, *args: Any, reduce_op: Any = "mean", **kwargs: Any) -> Any:
        return 3 * tensor if reduce_op == "sum" else tensor


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("callbacks.throughput.time", clock)
    monkeypatch.setattr("sextant.loaders.time", clock)
    return clock


def fit(folder: Path, clock: Clock, **options: Any) -> tuple[Trainer, dict[str, list[float]]]:
    """The run, and what was logged of each quantity."""
    run = trainer(folder, Throughput(), limit_train_batches=8, num_sanity_val_steps=0, **options)
    run.fit(Timed(clock), Images(clock))
    points = logged(run)
    names = ("images_per_second", "pixels_per_second", "data_wait")
    return run, {name: [point.value for point in points.Scalars(f"throughput/{name}")] for name in names}


def test_each_unit_has_its_speed_and_the_wait_is_a_fraction_of_the_time(tmp_path: Path, clock: Clock) -> None:
    run, found = fit(tmp_path, clock, log_every_n_steps=2)
    assert found["images_per_second"] == pytest.approx([4 / 3] * 4)
    assert found["pixels_per_second"] == pytest.approx([64 * 64 * 4 / 3] * 4)
    assert found["data_wait"] == pytest.approx([1 / 3] * 4)
    assert run.progress_bar_metrics["images/s"] == pytest.approx(4 / 3)


def test_validations_within_an_epoch_do_not_count(tmp_path: Path, clock: Clock) -> None:
    _, found = fit(tmp_path, clock, log_every_n_steps=2, val_check_interval=3)
    assert clock.now > 2 * VALIDATION
    assert found["images_per_second"] == pytest.approx([4 / 3] * 4)
    assert found["data_wait"] == pytest.approx([1 / 3] * 4)


def test_speed_is_that_of_all_processes_together(tmp_path: Path, clock: Clock) -> None:
    _, found = fit(tmp_path, clock, strategy=Ranks("cpu"), log_every_n_steps=4)
    assert found["images_per_second"] == pytest.approx([3 * 4 / 3] * 2)
    assert found["data_wait"] == pytest.approx([1 / 3] * 2)
