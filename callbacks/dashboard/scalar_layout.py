"""TensorBoard's Custom Scalars: the charts of a run in groups, all splits of a metric in one chart."""

import re
from collections.abc import Iterable
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from typing_extensions import override

from callbacks.validations import validates_at_epoch_ends
from sextant.contracts import Observer
from sextant.lightning_internals import callbacks_of, is_fitting
from sextant.logs.drawing import tensorboard_loggers
from sextant.module import SPLITS

Layout = dict[str, dict[str, list[str | list[str]]]]

KEY = "scalar_tags"  # in a checkpoint
COUNTERS = {"epoch", "step"}  # which Lightning logs beside metrics
MEASURED = re.compile(rf"({'|'.join(SPLITS)})/(best_)?(.+)")


class ScalarLayout(Observer):
    """The charts of TensorBoard's Custom Scalars page, made from what the run logs.

    They are written once what is logged of an epoch or a validation is known, and again where something is new.
    TensorBoard takes the last of a run, and charts of several runs that are alike as one. What was logged is kept in
    the checkpoint, since a run that goes on may log only a part of it again.
    """

    def __init__(self) -> None:
        self._tags: set[str] = set()
        self._layout: Layout = {}

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer)

    # Epoch metrics are logged after the other callbacks' on_train_epoch_end.
    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer)

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._see(trainer)
        checkpoint[KEY] = sorted(self._tags)

    @override
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if is_fitting(trainer):
            self._tags |= {*checkpoint.get(KEY, ())}

    def _see(self, trainer: Trainer) -> None:
        """See what is logged; all processes do, since reading metrics may be work that they share."""
        rates = [tag for each in callbacks_of(trainer) if isinstance(each, LearningRateMonitor) for tag in each.lrs]
        self._tags |= {*trainer.logged_metrics, *rates} - COUNTERS

    def _write(self, trainer: Trainer) -> None:
        if not is_fitting(trainer) or trainer.sanity_checking:
            return
        self._see(trainer)
        layout = scalar_layout(self._tags, validates_at_epoch_ends(trainer))
        if layout != self._layout and any(MEASURED.match(tag) for tag in self._tags) and trainer.is_global_zero:
            self._layout = layout
            for logger in tensorboard_loggers(trainer):
                logger.experiment.add_custom_scalars(layout)


def scalar_layout(tags: Iterable[str], by_epoch: bool) -> Layout:
    """The groups of charts, as ``SummaryWriter.add_custom_scalars`` takes them.

    Args:
        tags: what a run logs. ``<split>/<metric>`` and ``<split>/best_<metric>`` are in the chart of the metric, which
            has all splits, whether they are there yet or not: so runs have the same charts.
        by_epoch: whether what is measured by epoch stands at epochs; otherwise it stands at steps, as all else does.
    """
    tags = sorted(tags)
    axis = "by epoch" if by_epoch else "by step"
    metrics = {match[3] for tag in tags if (match := MEASURED.fullmatch(tag)) and match[1] != "train"}
    layout: Layout = {f"Losses, {axis}": {}, f"Metrics, {axis}": {}}
    steps: Layout = {"Optimization, by step": {}}
    for tag in tags:
        match = MEASURED.fullmatch(tag)
        metric, (group, _, name) = match[3] if match else "", tag.partition("/")
        if metric == "loss" or metric in metrics:
            parts = metric.partition("/")
            kind = "Losses" if metric == "loss" else f"Metrics: {parts[0]}" if parts[2] else "Metrics"
            pattern = rf"({'|'.join(SPLITS)})/(best_)?{re.escape(metric)}$"
            layout.setdefault(f"{kind}, {axis}", {})[parts[2] or metric] = ["Multiline", [pattern]]
        elif tag.startswith("lr-"):
            steps["Optimization, by step"]["learning rate"] = ["Multiline", ["lr-"]]
        elif match or not name:
            steps["Optimization, by step"][tag] = ["Multiline", [f"{re.escape(tag)}$"]]
        else:
            steps.setdefault(f"{group.capitalize()}, by step", {})[name] = ["Multiline", [f"{re.escape(tag)}$"]]
    # The order of charts is that of their names, whichever split of a metric was logged first.
    return {group: dict(sorted(charts.items())) for group, charts in (layout | steps).items() if charts}
