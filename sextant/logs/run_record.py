"""What a run was, in a file of its folder: command, commit, machine, data, times, how far it came and how well."""

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
from sextant.lightning_internals import is_fast_dev_run
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
        folder = trainer.log_dir
        if folder is None or is_fast_dev_run(trainer) or not trainer.is_global_zero:
            return
        self._began = time.monotonic()
        name, clean = commit()
        settings = json.dumps(self.data, sort_keys=True, default=str).encode()
        self._record = {
            "name": self.name,
            "data": {
                "class": self.data.get("class_path"),
                "synthetic": bool((self.data.get("init_args") or {}).get("synthetic")),
                "fingerprint": hashlib.sha256(settings).hexdigest()[:12],
            },
            "commands": self._earlier(Path(folder) / FILE),
        }
        self._record["commands"].append(
            {
                "command": shlex.join(["python", *sys.argv]),
                "commit": name,
                "clean": clean,
                "versions": {package: version(package) for package in VERSIONS} | {"python": platform.python_version()},
                "machine": machine(),
                "processes": trainer.world_size,
                "host": platform.node(),
                "pid": os.getpid(),
                "began": datetime.now(UTC).isoformat(timespec="seconds"),
                "state": "running",
            }
        )
        self._write(trainer)
        show_run_file(trainer, FILE, self._text())

    @staticmethod
    def _earlier(file: Path) -> list[dict[str, Any]]:
        """The commands that trained the run before; none where the file is damaged, which is no reason to stop."""
        try:
            return list(json.loads(file.read_text(encoding="utf-8"))["commands"])
        except (OSError, ValueError, KeyError, TypeError):
            return []

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer)

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer, "finished")
        if self._record:
            show_run_file(trainer, FILE, self._text())

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._write(trainer, "stopped" if isinstance(exception, Stopped | KeyboardInterrupt) else "failed")

    def _write(self, trainer: Trainer, state: str = "running") -> None:
        if not self._record or trainer.log_dir is None:
            return
        best = best_value(trainer)
        peaks = {"memory_mb": round(peak_memory())} if STATUS.exists() else {}
        if trainer.strategy.root_device.type == "cuda":
            peaks["gpu_memory_mb"] = round(torch.cuda.max_memory_allocated(trainer.strategy.root_device) / 2**20)
        self._record["commands"][-1] |= {
            "state": state,
            "seconds": round(time.monotonic() - self._began, 1),
            "peak": peaks,
        }
        self._record |= {
            "epochs": trainer.current_epoch,
            "steps": trainer.global_step,
            "best": None if best is None else {"metric": best[0], "value": best[1]},
        }
        with whole_file(Path(trainer.log_dir) / FILE) as part:
            part.write_text(self._text(), encoding="utf-8")

    def _text(self) -> str:
        return json.dumps(self._record, indent=1, default=str) + "\n"
