"""The charts of TensorBoard's Custom Scalars page."""

import re
import signal
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from torch import Tensor
from typing_extensions import override

from callbacks.dashboard.scalar_layout import ScalarLayout, scalar_layout
from callbacks.epoch_axis import EpochAxis
from callbacks.gradient_norm import GradientNorm
from tests.callbacks.small_run import Plain, loader, logged, trainer
from tests.sextant.resume.interrupted import Folder

TAG = "custom_scalars__config__"


class Measured(Plain):
    """Measures its loss in both splits."""

    @override
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = self.loss(batch)
        self.log("train/loss_step", loss)
        self.log("train/loss", loss, on_step=False, on_epoch=True)
        return loss


def shown(events: EventAccumulator) -> dict[str, dict[str, list[str]]]:
    """For each group of charts of the last layout, the tags of each chart among those that a run has logged."""
    layout = Layout.FromString(events.Tensors(TAG)[-1].tensor_proto.string_val[0])
    return {
        group.title: {
            chart.title: [
                tag for tag in sorted(events.Tags()["scalars"]) if any(re.match(p, tag) for p in chart.multiline.tag)
            ]
            for chart in group.chart
        }
        for group in layout.category
    }


def test_splits_of_a_metric_share_a_chart_and_each_tag_is_in_one(tmp_path: Path) -> None:
    callbacks = (ScalarLayout(), EpochAxis(), GradientNorm(), LearningRateMonitor("step"))
    run = trainer(tmp_path, *callbacks, max_epochs=3)
    run.fit(Measured(), loader(), loader())
    events = logged(run)
    assert shown(events) == {
        "Losses, by epoch": {"loss": ["train/loss", "val/loss"]},
        "Optimization, by step": {
            "gradient_norm": ["gradient_norm"],
            "learning rate": ["lr-SGD"],
            "train/loss_step": ["train/loss_step"],
        },
    }
    assert len(events.Tensors(TAG)) == 1  # it was whole after the first validation


def test_validations_within_epochs_and_epochs_of_training_stand_at_steps(tmp_path: Path) -> None:
    run = trainer(tmp_path, ScalarLayout(), EpochAxis(), max_epochs=2, val_check_interval=1)
    run.fit(Measured(), loader(), loader())
    events = logged(run)
    assert "Losses, by step" in shown(events)
    steps = {split: [point.step for point in events.Scalars(f"{split}/loss")] for split in ("train", "val")}
    assert steps == {"train": [2, 4], "val": [1, 2, 3, 4]}


@pytest.mark.parametrize("step", [3, 7])
def test_layout_of_a_run_that_was_gone_on_with_is_that_of_one_that_was_not(tmp_path: Path, step: int) -> None:
    """After the last step nothing is logged again that is logged every third step."""
    arguments = ("--trainer.callbacks+=callbacks.dashboard.scalar_layout.ScalarLayout", "--trainer.max_epochs=2")
    whole, stopped = (Folder(tmp_path / name, *arguments, "--trainer.log_every_n_steps=3") for name in ("a", "b"))
    whole.fit()
    stopped.end("on_train_batch_end", step, signal.SIGUSR1)
    stopped.fit("--ckpt_path=last")
    layouts = [shown(EventAccumulator(str(run.run)).Reload()) for run in (whole, stopped)]
    assert layouts[0] == layouts[1]
    assert layouts[0]["Losses, by epoch"]["loss"] == ["train/loss", "val/best_loss", "val/loss"]
    assert "train/loss_step" in layouts[0]["Optimization, by step"]


def test_other_loggers_have_no_layout(tmp_path: Path) -> None:
    run = trainer(tmp_path, ScalarLayout(), logger=CSVLogger(tmp_path))
    run.fit(Measured(), loader(), loader())
    assert [file.name for file in Path(str(run.log_dir)).iterdir()] == ["metrics.csv"]


def test_layout_is_by_what_is_measured() -> None:
    tags = {
        *("train/loss", "val/loss", "train/loss_step", "val/accuracy", "val/best_accuracy", "train/accuracy"),
        *("val/iou/cat", "val/iou/dog", "train/padding", "throughput/data_wait", "lr-AdamW/decay", "lr-AdamW/no_decay"),
    }
    found = {
        (group, name): {tag for tag in tags if any(re.match(pattern, tag) for pattern in chart[1])}
        for group, charts in scalar_layout(tags, by_epoch=True).items()
        for name, chart in charts.items()
    }
    assert found == {
        ("Losses, by epoch", "loss"): {"train/loss", "val/loss"},
        ("Metrics, by epoch", "accuracy"): {"train/accuracy", "val/accuracy", "val/best_accuracy"},
        ("Metrics: iou, by epoch", "cat"): {"val/iou/cat"},
        ("Metrics: iou, by epoch", "dog"): {"val/iou/dog"},
        ("Optimization, by step", "learning rate"): {"lr-AdamW/decay", "lr-AdamW/no_decay"},
        ("Optimization, by step", "train/loss_step"): {"train/loss_step"},
        ("Optimization, by step", "train/padding"): {"train/padding"},
        ("Throughput, by step", "data_wait"): {"throughput/data_wait"},
    }


def test_order_of_charts_is_the_same_before_and_after_training_logs_its_metrics() -> None:
    before = {"val/loss", "val/wer", "val/unalignable"}
    layouts = [scalar_layout(tags, by_epoch=True) for tags in (before, before | {"train/unalignable"})]
    assert [list(charts) for charts in layouts[0].values()] == [list(charts) for charts in layouts[1].values()]
