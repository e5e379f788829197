"""Carry the training metrics of a partial epoch over a restart."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torchmetrics import Metric
from typing_extensions import override

from sextant.lightning_internals import is_fitting, is_synced, set_update_count

KEY = "epoch_metrics"


class EpochMetrics(Callback):
    """The states of the module's torchmetrics, kept in the checkpoint.

    Without it, the training metrics of an epoch that was resumed in its middle would cover its second half only.
    The states of all processes are reduced into one when they are saved, and given to the first process when they
    are loaded, so that the number of processes may change.
    """

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[KEY] = {}
        for name, metric in _metrics(pl_module):
            if metric.update_called:
                metric.sync()
                state = deepcopy(metric.metric_state)
                if is_synced(metric):  # not so with one process
                    metric.unsync()
                checkpoint[KEY][name] = {"updates": metric.update_count, "state": state}

    @override
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if not trainer.is_global_zero or not is_fitting(trainer):
            return
        states = checkpoint.get(KEY, {})
        for name, metric in _metrics(pl_module):
            if name in states:
                set_update_count(metric, states[name]["updates"])
                for key in metric.metric_state:
                    setattr(metric, key, move_data_to_device(states[name]["state"][key], metric.device))


def _metrics(pl_module: LightningModule) -> Iterator[tuple[str, Metric]]:
    return ((name, module) for name, module in pl_module.named_modules() if isinstance(module, Metric))
