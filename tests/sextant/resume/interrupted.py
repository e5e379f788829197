"""Runs of the smallest workload that are ended at a chosen moment, and gone on with."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sextant.cli.cli import SextantCLI
from sextant.contracts import Observer
from sextant.signals import Stopped
from tests.sextant.tiny import ARGUMENTS
from train import main


class Killed(BaseException):
    """The end of a process that nothing can catch, as far as a test can have it."""


class Ends(Observer):
    """Ends the run at a moment: as a kill does, or by sending a signal.

    Args:
        moment: the hook of a callback.
        step: the optimizer steps that were made then.
        number: of the signal; 0 for a kill.
    """

    def __init__(self, moment: str, step: int, number: int = 0) -> None:
        self.step = step
        self.number = number
        setattr(self, moment, self._end)

    def _end(self, trainer: Trainer, *args: Any, **options: Any) -> None:
        if trainer.global_step != self.step or trainer.sanity_checking:
            return
        self.step = -1
        if not self.number:
            raise Killed
        os.kill(os.getpid(), self.number)


class Folder:
    """A folder for one run.

    Args:
        path: the folder.
        arguments: of all its commands.
    """

    def __init__(self, path: Path, *arguments: str) -> None:
        path.mkdir()
        self.path = path
        self.arguments = [*ARGUMENTS, "--data.batch_size=2", "--trainer.log_every_n_steps=1", *arguments]

    def fit(self, *more: str) -> SextantCLI:
        return self.command("fit", *more)

    def command(self, name: str, *more: str) -> SextantCLI:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.path)
            patch.setattr(sys, "argv", ["train.py"])
            return main([name, *self.arguments, *more])

    @staticmethod
    def ending(moment: str, step: int, number: int = 0) -> list[str]:
        """The arguments by which a run is ended at a moment."""
        settings = {"moment": moment, "step": step, "number": int(number)}
        return [
            "--trainer.callbacks+=tests.sextant.resume.interrupted.Ends",
            *(f"--trainer.callbacks.{key}={value}" for key, value in settings.items()),
        ]

    def end(self, moment: str, step: int, number: int = 0, *more: str) -> None:
        """Run a command that is ended at a moment."""
        ending = self.ending(moment, step, number)
        if not number:
            with pytest.raises(Killed):
                self.fit(*ending, *more)
            return
        with pytest.raises(Stopped) as end:
            self.fit(*ending, *more)
        assert end.value.exit_code == 128 + number

    @property
    def run(self) -> Path:
        return self.path / "logs" / "tiny" / "version_0"

    def checkpoint(self, name: str = "last") -> dict[str, Any]:
        loaded: dict[str, Any] = torch.load(self.run / "checkpoints" / f"{name}.ckpt", weights_only=True)
        return loaded

    def points(self) -> dict[str, list[tuple[int, float]]]:
        """Steps and values of everything in the log but the speed."""
        board = EventAccumulator(str(self.run), {"scalars": 0, "tensors": 0}).Reload()
        names = [name for name in board.Tags()["scalars"] if not name.startswith(("throughput", "hp_metric"))]
        # Two files of one second are not read in the order in which they were begun.
        points = {name: sorted(board.Scalars(name), key=lambda point: point.wall_time) for name in names}
        return {name: [(point.step, point.value) for point in found] for name, found in points.items()}


def assert_same(a: Folder, b: Folder) -> None:
    """Weights, optimizer, schedules, what is called best, and the log of two runs are equal."""
    old, new = a.checkpoint(), b.checkpoint()
    for checkpoint in (old, new):
        del checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]  # counts restarts, too
    for part in ("state_dict", "current_model_state"):
        assert old.get(part, {}).keys() == new.get(part, {}).keys()
        assert all(torch.equal(value, new[part][name]) for name, value in old.get(part, {}).items())
    for part in ("optimizer_states", "lr_schedulers", "global_step", "PointsData", "loops"):
        assert old[part] == new[part], part
    best = [
        state["best_model_score"]
        for checkpoint in (old, new)
        for name, state in checkpoint["callbacks"].items()
        if name.startswith("ModelCheckpoint")
    ]
    assert best[0] == best[1]
    assert a.points() == b.points()
