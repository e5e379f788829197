"""The report of a run: its data and device at the start, its best metric and its files at the end."""

import time
from collections.abc import Sized
from typing import Protocol, runtime_checkable

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.plugins import MixedPrecision
from typing_extensions import override

from callbacks.terminal.next_commands import next_commands
from callbacks.terminal.text import clock, epoch_of_run, say, wrapped
from sextant.contracts import Observer
from sextant.lightning_internals import (
    batches_of_epoch,
    datamodule_of,
    is_fast_dev_run,
    whole_epochs,
)
from sextant.logs.best_value import best_value
from sextant.logs.drawing import draw_text
from sextant.module import BaseModule
from sextant.resume.recovery_checkpoint import RecoveryCheckpoint

SYNTHETIC_NOTICE = "SYNTHETIC DATA: it was generated; the figures say nothing about the real data."


@runtime_checkable
class MaybeSynthetic(Protocol):
    """Data that says whether it was generated."""

    synthetic: bool


class RunReport(Observer):
    """The report of a run on the terminal and in the log.

    At the start it says what is trained on what, and where; at the end how far the run came, its best value, and the
    commands that one may want next. Runs on synthetic data are marked as such.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._began = time.monotonic()
        if _on_synthetic_data(trainer):
            say([SYNTHETIC_NOTICE])

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        lines = [_about_data(trainer, pl_module), _about_device(trainer), f"Run: {trainer.log_dir or 'not logged'}"]
        if trainer.ckpt_path:
            lines.append(f"Goes on after {trainer.global_step:,} steps, in epoch {epoch_of_run(trainer)}")
        say(lines)
        if _on_synthetic_data(trainer):
            draw_text(trainer, "run/data", SYNTHETIC_NOTICE)

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = RecoveryCheckpoint.folder(trainer)
        if folder is None or is_fast_dev_run(trainer):
            return
        lines = [f"{_how_far(trainer)}, in {clock(time.monotonic() - self._began)}"]
        best = best_value(trainer)
        if best is not None:
            name, value, path = best
            lines += [f"Best {name}: {value:.4f}", f"Best checkpoint: {path}"]
        if (folder / "last.ckpt").exists():
            lines.append(f"Last checkpoint: {folder / 'last.ckpt'}")
        checkpoint = best[2] if best else folder / "last.ckpt"
        lines += ["Next:", *(f"  {command}" for command in next_commands(trainer, folder.parent, checkpoint))]
        if _on_synthetic_data(trainer):
            lines.append(SYNTHETIC_NOTICE)
        say(lines)


def _about_data(trainer: Trainer, module: LightningModule) -> str:
    """The data, the sizes of its splits, what the model must know of it, and the steps of an epoch."""
    loaders = {"train": trainer.train_dataloader, "val": trainer.val_dataloaders}
    sizes = [
        f"{len(dataset):,} {split}"
        for split, loader in loaders.items()
        if isinstance(dataset := getattr(loader, "dataset", None), Sized)
    ]
    parts = [f"{' and '.join(sizes)} samples"] if sizes else []
    if isinstance(module, BaseModule):
        spec = module.data_spec
        parts += [f"{len(spec.labels):,} labels"] if spec.labels else []
        parts += [f"{len(spec.table_sizes)} tables of {sum(spec.table_sizes.values()):,} rows"] * bool(spec.table_sizes)
    batches = trainer.num_training_batches
    if batches != float("inf"):
        parts.append(f"{-(-int(batches) // trainer.accumulate_grad_batches):,} steps an epoch")
    data = datamodule_of(trainer)
    return wrapped(f"Data: {', '.join([type(data).__name__] * (data is not None) + parts)}")


def _about_device(trainer: Trainer) -> str:
    device, plugin = trainer.strategy.root_device, trainer.precision_plugin
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
    idle = isinstance(plugin, MixedPrecision) and plugin.device != device.type  # as bf16 for a GPU is on a CPU
    processes = "1 process" if trainer.world_size == 1 else f"{trainer.world_size} processes"
    return f"Device: {name}, {processes}, precision {'32-true' if idle else trainer.precision}"


def _how_far(trainer: Trainer) -> str:
    """How many steps and whole epochs were made, and how much of the epoch in which the run has stopped."""
    epochs, batches = whole_epochs(trainer), batches_of_epoch(trainer).processed
    done = f"Steps done: {trainer.global_step:,}, epochs: {epochs:,}"
    if epochs == trainer.current_epoch:
        return done
    return f"{done} and {batches:,} of {trainer.num_training_batches:,} batches of the next"


def _on_synthetic_data(trainer: Trainer) -> bool:
    data = datamodule_of(trainer)
    return isinstance(data, MaybeSynthetic) and data.synthetic
