"""Settings of the Trainer that contradict what the shared configuration gives it: the one that says more holds."""

import os
from typing import Any

import torch
from lightning.pytorch.callbacks import (
    Callback,
    Checkpoint,
    LearningRateMonitor,
    ModelCheckpoint,
    ModelSummary,
    ProgressBar,
)
from lightning.pytorch.plugins import CheckpointIO, LayerSync, Precision
from lightning.pytorch.strategies import StrategyRegistry
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from sextant.cli.parsing.mistakes import did_you_mean
from sextant.errors import InputError
from sextant.resume.checkpoint_io import AtomicCheckpointIO
from sextant.resume.epoch_metrics import EpochMetrics
from sextant.resume.optimizer_settings import OptimizerSettings
from sextant.resume.partial_epoch import PartialEpoch
from sextant.resume.recovery_checkpoint import RecoveryCheckpoint
from sextant.strategies.synced_batch_norm import SyncedBatchNorm

#: What ``barebones`` switches off; Lightning refuses it where one of these is given.
BAREBONES = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "log_every_n_steps": 0,
    "num_sanity_val_steps": 0,
}
#: Callbacks that do what a setting switches off.
SWITCHED_OFF: dict[str, tuple[type[Callback], ...]] = {
    "logger": (LearningRateMonitor,),
    "enable_progress_bar": (ProgressBar,),
    "enable_model_summary": (ModelSummary,),
    "enable_checkpointing": (ModelCheckpoint,),
}
#: More processes than this on a processor are a mistake: each is a program of half a gigabyte.
PROCESSES_PER_CORE = 4
#: Without these a run is not resumed exactly, so they are there also where the callbacks are replaced.
EXACT_RESUME = (EpochMetrics, PartialEpoch, OptimizerSettings)


def settle(options: dict[str, Any]) -> None:
    """Change the arguments of a Trainer so that a setting holds against what the configuration gives beside it.

    ``precision`` replaces a plugin that says the precision, and ``sync_batchnorm`` works on CPUs too. ``logger``,
    ``enable_checkpointing``, ``enable_model_summary`` and ``enable_progress_bar`` switch the callbacks off that do it;
    ``barebones`` all of these. Signals end a run as ever, but a run without checkpoints saves nothing. Where callbacks
    or plugins are replaced, what an exact resume takes stays.

    Args:
        options: what the Trainer's constructor is given, changed in place.

    Raises:
        InputError: there is no such strategy or GPU, there would be too many processes, or a profiler is for devices
            that nothing here runs on.
    """
    if options.get("profiler") == "xla":
        raise InputError("--trainer.profiler is xla, which is for TPUs. Use simple, advanced or pytorch.")
    _require_known_devices(options)
    bare = bool(options.get("barebones"))
    if bare:
        options |= BAREBONES
    options["plugins"] = _plugins(options)
    callbacks = _listed(options.get("callbacks"))
    for setting, kinds in SWITCHED_OFF.items():
        if options.get(setting) is False:
            callbacks = [callback for callback in callbacks if not isinstance(callback, kinds)]
    if options.get("enable_checkpointing") is False:
        if bare:
            callbacks = [callback for callback in callbacks if not isinstance(callback, Checkpoint)]
        elif recovery := [callback for callback in callbacks if isinstance(callback, RecoveryCheckpoint)]:
            recovery[0].writes = False  # it still ends the run on a signal
            options["enable_checkpointing"] = None
    if not bare:
        callbacks += [kind() for kind in EXACT_RESUME if not any(isinstance(callback, kind) for callback in callbacks)]
    options["callbacks"] = callbacks


def _require_known_devices(options: dict[str, Any]) -> None:
    has_gpu = torch.cuda.is_available() or torch.mps.is_available()
    if options.get("accelerator") in ("gpu", "cuda") and not has_gpu:
        raise InputError(
            f"--trainer.accelerator is {options['accelerator']}, and torch {torch.__version__} finds no GPU here. Use "
            "--trainer.accelerator=auto, which takes what there is."
        )
    devices, most = str(options.get("devices")), PROCESSES_PER_CORE * (os.cpu_count() or 1)
    on_processor = options.get("accelerator") == "cpu" or not has_gpu
    if on_processor and devices.isdecimal() and int(devices) > most:
        raise InputError(
            f"--trainer.devices is {devices}: as many processes on {os.cpu_count()} cores would stall the machine. "
            f"Give at most {most}."
        )
    strategy, known = options.get("strategy"), ["auto", *StrategyRegistry.available_strategies()]
    if isinstance(strategy, str) and strategy.lower() not in known:  # Lightning looks for a name in lower case
        usual = "The usual ones are auto, ddp, fsdp, deepspeed and TorchRecStrategy."
        near = did_you_mean(strategy, [*known, "TorchRecStrategy"])
        raise InputError(
            f"--trainer.strategy is {strategy}, and there is no such one. {near} {usual}".replace("  ", " ")
        )


def _plugins(options: dict[str, Any]) -> list[Any]:
    plugins = _listed(options.get("plugins"))
    precision = options.get("precision")
    if precision is not None and (given := [plugin for plugin in plugins if isinstance(plugin, Precision)]):
        names = ", ".join(type(plugin).__name__ for plugin in given)
        rank_zero_info(f"--trainer.precision={precision} holds, in place of {names} in trainer.plugins.")
        plugins = [plugin for plugin in plugins if plugin not in given]
    if options.get("sync_batchnorm"):
        options["sync_batchnorm"] = False  # Lightning's fails on CPUs
        if not any(isinstance(plugin, LayerSync) for plugin in plugins):
            plugins.append(SyncedBatchNorm())
    if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
        plugins.append(AtomicCheckpointIO())
    return plugins


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]
