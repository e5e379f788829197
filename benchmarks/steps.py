"""Training steps, timed one by one."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from jsonargparse import ArgumentParser
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from typing_extensions import override

from benchmarks.runner import interruptible

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
BETWEEN_STEPS = ("ModelTable", "RunReport", "EpochTable")  # callbacks that do nothing in a step but print around a fit


class Clock:
    """Take the time between steps.

    Args:
        device: on a GPU the clock waits for the queued work, at the first and the last of the timed steps only.
        warmup: steps that are not timed.
        steps: steps that are timed, counted from start to start.
    """

    def __init__(self, device: torch.device, warmup: int, steps: int) -> None:
        self.device = device
        self.first = warmup
        self.last = warmup + steps
        self.stamps: list[tuple[float, float]] = []

    def step_starts(self, step: int) -> None:
        """Note the start of a step; 0 is the first."""
        if step < self.first:
            return
        if self.device.type == "cuda" and step in (self.first, self.last):
            torch.cuda.synchronize(self.device)
        self.stamps.append((time.perf_counter(), time.process_time()))

    @property
    def seconds(self) -> np.ndarray:
        """Seconds of wall and of processor time of each timed step, float (steps, 2).

        On a GPU, where a step's start says only that it was queued, one row: the mean of all steps.
        """
        assert len(self.stamps) == self.last - self.first + 1
        steps = np.diff(self.stamps, axis=0)
        return steps.mean(0, keepdims=True) if self.device.type == "cuda" else steps


class StepClock(Callback):
    """Tell a clock when the Trainer starts a step."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Note the time."""
        self.clock.step_starts(batch_idx)


def make(kind: type, settings: Any) -> Any:
    """Make a Trainer from its arguments, or a module or DataModule from ``class_path`` and ``init_args``."""
    parser = ArgumentParser(exit_on_error=False)
    if kind is Trainer:
        parser.add_class_arguments(kind, "made")
    else:
        parser.add_subclass_arguments(kind, "made")
    return parser.instantiate(parser.parse_object({"made": settings}))["made"]


def fit(trainer_settings: Any, module: LightningModule, data: LightningDataModule, *callbacks: Callback) -> None:
    """Train a block with the shared Trainer.

    Args:
        trainer_settings: as of :func:`shared_trainer`.
        module: what is trained.
        data: what it is trained on.
        callbacks: those of the benchmark, before the Trainer's own.
    """
    trainer = make(Trainer, trainer_settings)
    trainer.callbacks[:0] = callbacks
    with interruptible():
        trainer.fit(module, data)


def shared_trainer(accelerator: str, folder: Path, steps: int) -> dict[str, Any]:
    """The arguments of the shared Trainer, cut down to a block of steps without validation and checkpoints.

    Args:
        accelerator: where it runs.
        folder: for logs.
        steps: of the block.
    """
    trainer = yaml.safe_load((CONFIGS / "trainer.yaml").read_text())["trainer"]
    names = {str(c if isinstance(c, str) else c["class_path"]).rsplit(".", 1)[-1]: c for c in trainer["callbacks"]}
    trainer["callbacks"] = [callback for name, callback in names.items() if name not in BETWEEN_STEPS]
    trainer["logger"]["init_args"]["save_dir"] = str(folder)
    return trainer | {
        "accelerator": accelerator,
        "devices": 1,
        "max_epochs": 1,
        "max_steps": steps,
        "limit_val_batches": 0,
        "enable_checkpointing": False,
        "enable_model_summary": False,
    }
