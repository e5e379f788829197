"""The base module in runs of a small regression."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LRSchedulerCallable, ReduceLROnPlateau
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics import MeanMetric, MetricCollection
from typing_extensions import override

from sextant.data_spec import DataSpec
from sextant.errors import InputError
from sextant.module import BaseModule

SAMPLES = torch.arange(1.0, 12.0)  # in batches of 4, 4 and 3


class Scale(BaseModule):
    """Learn a factor; the loss is the mean of the samples times the factor."""

    headline = "largest"

    def __init__(self, scheduler: LRSchedulerCallable | None = None, lr: float = 0.0) -> None:
        super().__init__(partial(torch.optim.SGD, lr=lr), scheduler)
        self.factor = nn.Parameter(torch.ones(()))
        self.add_metrics({"square": MeanMetric()})
        self.add_metrics({"largest": MeanMetric()}, splits=("val", "test"))

    @override
    def step(self, batch: Tensor, metrics: MetricCollection) -> dict[str, Tensor]:
        loss = self.factor * batch.mean()
        metrics["loss"].update(loss.detach(), len(batch))
        metrics["square"].update(batch**2)
        if "largest" in metrics:
            metrics["largest"].update(batch.max())
        return {"loss": loss}

    @override
    def epoch_values(self, values: dict[str, Tensor], split: str) -> dict[str, Tensor]:
        return values | {f"{split}/root": values[f"{split}/square"].sqrt()}

    @override
    def check_data(self, spec: DataSpec) -> None:
        spec.require_label_count(2, "outputs")


class Samples(LightningDataModule):
    """The samples, for all splits, with a description of them."""

    def __init__(self, *labels: str) -> None:
        super().__init__()
        self.labels = labels

    def data_spec(self) -> DataSpec:
        return DataSpec(labels=self.labels)

    @override
    def train_dataloader(self) -> DataLoader:
        return DataLoader(SAMPLES, batch_size=4)  # type: ignore[arg-type]

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader


def trainer(folder: Path, *callbacks: Callback, **options: Any) -> Trainer:
    quiet: dict[str, Any] = {
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "logger": False,
        "accelerator": "cpu",
    }
    common: dict[str, Any] = {"max_epochs": 3, "default_root_dir": folder, "callbacks": list(callbacks)}
    return Trainer(**quiet | common | options)


def checkpoint(folder: Path) -> ModelCheckpoint:
    return ModelCheckpoint(folder, filename="last", enable_version_counter=False)


def plateau(optimizer: torch.optim.Optimizer, monitor: str = "val/loss") -> ReduceLROnPlateau:
    """Halves the rate after each validation but the first: the loss falls, or stays, and should rise."""
    return ReduceLROnPlateau(optimizer, monitor, mode="max", factor=0.5, patience=0)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_metrics_of_a_split_are_those_of_all_its_samples(tmp_path: Path, split: str) -> None:
    run, module = trainer(tmp_path, enable_checkpointing=False, max_epochs=1), Scale()
    run.test(module, Samples(), verbose=False) if split == "test" else run.fit(module, Samples())
    measured = run.callback_metrics
    assert measured[f"{split}/loss"].item() == pytest.approx(SAMPLES.mean().item())
    assert measured[f"{split}/square"].item() == pytest.approx((SAMPLES**2).mean().item())
    assert measured[f"{split}/root"].item() == pytest.approx((SAMPLES**2).mean().sqrt().item())
    assert (f"{split}/largest" in measured) == (split != "train")


def test_progress_bar_shows_the_loss_of_the_step_and_the_headline_of_the_validation(tmp_path: Path) -> None:
    run = trainer(tmp_path, enable_checkpointing=False, max_epochs=1)
    run.fit(Scale(), Samples())
    assert set(run.progress_bar_metrics) == {"train/loss_step", "val/largest"}


def test_rate_follows_the_validations_and_is_in_the_checkpoint_of_the_same_epoch(tmp_path: Path) -> None:
    rates = []

    class Note(ModelCheckpoint):
        @override
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    trainer(tmp_path, Note(tmp_path, save_top_k=0)).fit(Scale(plateau, lr=1.0), Samples())
    assert rates == [1.0, 0.5, 0.25]


def test_rate_changes_even_if_a_module_replaces_every_hook_of_the_base(tmp_path: Path) -> None:
    class Own(Scale):
        @override
        def validation_step(self, batch: Tensor, batch_idx: int) -> dict[str, Any]:
            self.log("val/loss", batch.mean(), on_epoch=True)
            return {}

        @override
        def on_validation_epoch_end(self) -> None: ...

        @override
        def configure_callbacks(self) -> list[Callback]:
            return []

    run = trainer(tmp_path, enable_checkpointing=False)
    run.fit(Own(plateau, lr=1.0), Samples())
    assert run.optimizers[0].param_groups[0]["lr"] == 0.25


def test_schedule_of_a_metric_that_is_not_measured_is_refused(tmp_path: Path) -> None:
    module = Scale(partial(plateau, monitor="val/accuracy"))
    with pytest.raises(InputError, match=r"monitor is 'val/accuracy'; a validation measures .*val/largest"):
        trainer(tmp_path, enable_checkpointing=False).fit(module, Samples())


def test_schedule_that_follows_validations_is_refused_in_a_run_without_any(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="follows the validations, but this run has none"):
        trainer(tmp_path, enable_checkpointing=False, limit_val_batches=0).fit(Scale(plateau), Samples())


def test_description_of_the_data_is_in_the_checkpoint_and_is_known_without_the_data(tmp_path: Path) -> None:
    trainer(tmp_path, checkpoint(tmp_path), max_epochs=1).fit(Scale(), Samples("cat", "dog"))
    module = Scale()
    trainer(tmp_path).validate(module, Samples(), ckpt_path=tmp_path / "last.ckpt", verbose=False)
    assert module.data_spec.labels == ("cat", "dog")
    loaded = Scale.load_from_checkpoint(tmp_path / "last.ckpt")
    trainer(tmp_path).validate(loaded, Samples(), verbose=False)
    assert loaded.data_spec.labels == ("cat", "dog")


def test_checkpoint_of_other_data_is_refused(tmp_path: Path) -> None:
    trainer(tmp_path, checkpoint(tmp_path), max_epochs=1).fit(Scale(), Samples("cat", "dog"))
    with pytest.raises(InputError, match="its labels have 'dog' at 1 where the data has 'fox'"):
        trainer(tmp_path).validate(Scale(), Samples("cat", "fox"), ckpt_path=tmp_path / "last.ckpt")


def test_data_that_the_model_is_not_made_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model\.outputs is 2, but the data has 3 labels"):
        trainer(tmp_path).validate(Scale(), Samples("cat", "dog", "fox"))


class Shifted(Scale):
    """With a second parameter: the first batch's gradients are 2.5 and 0.5."""

    def __init__(self) -> None:
        super().__init__(lr=1.0)
        self.shift = nn.Parameter(torch.ones(()))

    @override
    def step(self, batch: Tensor, metrics: MetricCollection) -> dict[str, Tensor]:
        return {"loss": super().step(batch, metrics)["loss"] + self.shift / 2}


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [2.5, 0.5]),
        ({"gradient_clip_val": 1.0}, [2.5 / 6.5**0.5, 0.5 / 6.5**0.5]),
        ({"gradient_clip_val": 1.0, "gradient_clip_algorithm": "norm"}, [2.5 / 6.5**0.5, 0.5 / 6.5**0.5]),
        ({"gradient_clip_val": 1.0, "gradient_clip_algorithm": "value"}, [1.0, 0.5]),
    ],
    ids=str,
)
def test_gradients_are_clipped_in_the_way_that_was_asked_for_in_every_precision(
    tmp_path: Path, precision: str, settings: dict[str, Any], expected: list[float]
) -> None:
    module = Shifted()
    once: dict[str, Any] = {"max_epochs": 1, "limit_train_batches": 1, "limit_val_batches": 0}
    trainer(tmp_path, enable_checkpointing=False, precision=precision, **once, **settings).fit(module, Samples())
    assert [1 - module.factor.item(), 1 - module.shift.item()] == pytest.approx(expected, abs=1e-5)
