"""What a run was, in a file of its folder: commands, commit, machine, data, times, how far it came and how well."""

import hashlib
import json
import os
import platform
import shlex
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from typing_extensions import override

from sextant.atomic_folder import whole_file
from sextant.contracts import Observer
from sextant.lightning_internals import is_fast_dev_run, whole_epochs
from sextant.logs.best_value import best_value
from sextant.logs.drawing import show_run_file
from sextant.logs.machine import commit, machine
from sextant.memory import STATUS, peak_memory
from sextant.signals import Stopped

FILE = "run.json"
VERSIONS = ("torch", "lightning", "torchmetrics")


class RunRecord(Observer):
    """Keep in ``run.json`` what a run was, with an entry for each command that trained it.

    It is written when training begins, after each epoch, and when the command ends, so that also a killed run has one.
    TensorBoard shows it as it was at the beginning and at the end.

    Args:
        name: of the workload.
        data: the settings of the data, as plain values.
    """

    def __init__(self, name: str, data: dict[str, Any]) -> None:
        self.name = name
        self.data = data
        self._record: dict[str, Any] = {}
        self._began = 0.0

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        file = _file(trainer)
        if file is None:
            return
        self._began = time.monotonic()
        earlier = _read(file)
        self._record = {"name": self.name, "data": _about(self.data), "commands": earlier.get("commands", [])}
        if "evaluations" in earlier:
            self._record["evaluations"] = earlier["evaluations"]
        process = {"host": platform.node(), "pid": os.getpid(), "state": "running"}
        self._record["commands"].append(_command(trainer) | process)
        self._keep(trainer)
        show_run_file(trainer, FILE, _text(self._record))

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._keep(trainer)

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._keep(trainer, "finished")
        if self._record:
            show_run_file(trainer, FILE, _text(self._record))

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._keep(trainer, "stopped" if isinstance(exception, Stopped | KeyboardInterrupt) else "failed")

    def _keep(self, trainer: Trainer, state: str = "running") -> None:
        file = _file(trainer)
        if not self._record or file is None:
            return
        best = best_value(trainer)
        self._record["commands"][-1] |= {"state": state, **_spent(trainer, self._began)}
        self._record |= {
            "epochs": whole_epochs(trainer),
            "steps": trainer.global_step,
            "best": None if best is None else {"metric": best[0], "value": best[1]},
        }
        _write(file, self._record)


class EvaluationRecord(Observer):
    """Keep in a run's ``run.json`` how good its model was, with an entry for each ``validate`` and ``test``.

    Args:
        data: the settings of the data, as plain values.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self._began = 0.0

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._began = time.monotonic()

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._keep(trainer)

    @override
    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._began = time.monotonic()

    @override
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._keep(trainer)

    def _keep(self, trainer: Trainer) -> None:
        file = _file(trainer)
        if file is None or not (record := _read(file)):
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        entry = _command(trainer) | {"data": _about(self.data), **_spent(trainer, self._began), "metrics": metrics}
        _write(file, record | {"evaluations": [*record.get("evaluations", []), entry]})


def _file(trainer: Trainer) -> Path | None:
    """Where a run's record is; None where there is none, or another process writes it."""
    folder = trainer.log_dir
    return None if folder is None or is_fast_dev_run(trainer) or not trainer.is_global_zero else Path(folder) / FILE


def _about(data: dict[str, Any]) -> dict[str, Any]:
    """What is kept of the data's settings."""
    settings = json.dumps(data, sort_keys=True, default=str).encode()
    return {
        "class": data.get("class_path"),
        "synthetic": bool((data.get("init_args") or {}).get("synthetic")),
        "fingerprint": hashlib.sha256(settings).hexdigest()[:12],
    }


def _command(trainer: Trainer) -> dict[str, Any]:
    """What is kept of a command, as far as it is known at its beginning."""
    name, clean = commit()
    return {
        "command": shlex.join(["python", *sys.argv]),
        "commit": name,
        "clean": clean,
        "versions": {package: version(package) for package in VERSIONS} | {"python": platform.python_version()},
        "machine": machine(),
        "processes": trainer.world_size,
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _spent(trainer: Trainer, began: float) -> dict[str, Any]:
    """The time and the memory that a command has taken so far."""
    peaks = {"memory_mb": round(peak_memory())} if STATUS.exists() else {}
    if trainer.strategy.root_device.type == "cuda":
        peaks["gpu_memory_mb"] = round(torch.cuda.max_memory_allocated(trainer.strategy.root_device) / 2**20)
    return {"seconds": round(time.monotonic() - began, 2), "peak": peaks}


def _read(file: Path) -> dict[str, Any]:
    """The record of a run so far; nothing where it is damaged, which is no reason to stop."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    lists = [record.get(key, []) for key in ("commands", "evaluations")] if isinstance(record, dict) else [None]
    return record if all(isinstance(each, list) for each in lists) else {}


def _write(file: Path, record: dict[str, Any]) -> None:
    with whole_file(file) as part:
        part.write_text(_text(record), encoding="utf-8")


def _text(record: dict[str, Any]) -> str:
    return json.dumps(record, indent=1, default=str) + "\n"
