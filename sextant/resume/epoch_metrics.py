"""Carry the training metrics of a partial epoch over a restart."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import distributed
from torchmetrics import Metric
from typing_extensions import override

from sextant.lightning_internals import is_fitting, is_synced, set_update_count

KEY = "epoch_metrics"


class EpochMetrics(Callback):
    """The states of the module's torchmetrics, kept in the checkpoint.

    Without it, the training metrics of an epoch that was resumed in its middle would cover its second half only.
    Each process gets its own state back. For another number of processes there are the states reduced into one, which
    the first process gets; sums of floats are then rounded otherwise, so that the last digit may differ. In a
    validation, which a resumed run begins again, what it has measured so far is left out.
    """

    def __init__(self) -> None:
        self._before_validation: frozenset[str] | None = None  # names of metrics, while there is one

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._before_validation = frozenset(name for name, metric in _metrics(pl_module) if metric.update_called)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._before_validation = None

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        own, reduced = {}, {}
        for name, metric in _metrics(pl_module):
            if metric.update_called and (self._before_validation is None or name in self._before_validation):
                own[name] = _state(metric)
                metric.sync()
                if is_synced(metric):
                    reduced[name] = _state(metric)
                    metric.unsync()
                else:  # there is one process
                    reduced[name] = own[name]
        checkpoint[KEY] = {"reduced": reduced, "processes": _of_all_processes(own)}

    @override
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if not is_fitting(trainer) or KEY not in checkpoint:
            return
        processes = checkpoint[KEY]["processes"]
        if len(processes) == trainer.world_size:
            states = processes[trainer.global_rank]
        else:
            states = checkpoint[KEY]["reduced"] if trainer.is_global_zero else {}
        for name, metric in _metrics(pl_module):
            if name in states:
                set_update_count(metric, states[name]["updates"])
                for key in metric.metric_state:
                    setattr(metric, key, move_data_to_device(states[name]["state"][key], metric.device))


def _metrics(pl_module: LightningModule) -> Iterator[tuple[str, Metric]]:
    return ((name, module) for name, module in pl_module.named_modules() if isinstance(module, Metric))


def _state(metric: Metric) -> dict[str, Any]:
    """How often a metric was updated, and a copy of what it has kept, on the processor."""
    state = move_data_to_device(deepcopy(metric.metric_state), "cpu")
    return {"updates": metric.update_count, "state": state}


def _of_all_processes(own: dict[str, Any]) -> list[dict[str, Any]]:
    """What each process has, in the order of their ranks."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return [own]
    gathered: list[dict[str, Any]] = [{}] * distributed.get_world_size()
    distributed.all_gather_object(gathered, own)
    return gathered
