"""Runs of a workload made small: undisturbed ones, and ones that are killed in their second epoch and resumed."""

import time
from collections.abc import Sequence
from functools import cache
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sextant.resume.checkpoint_io import AtomicCheckpointIO
from tests.launch import finish, start, start_ranks
from tests.recording import read_batches
from tests.workloads.workload import Workload

SAVES = "--recovery_checkpoint.every_n_steps"


class Run:
    """A run in a folder of its own.

    Args:
        workload: what is trained.
        folder: where; the run's logs are in ``logs`` there.
        ranks: how many processes there are.
        epochs: how long it is.
        record: the folder in it where the samples of each rank are written.
    """

    def __init__(self, workload: Workload, folder: Path, ranks: int, epochs: int, record: str = "record") -> None:
        self.workload = workload
        self.folder = folder
        self.ranks = ranks
        self.epochs = epochs
        self.record = folder / record
        self.record.mkdir()

    @property
    def log(self) -> str:
        """What the processes printed."""
        return (self.folder / "log").read_text()

    @property
    def log_folder(self) -> Path:
        return self.folder / "logs" / self.workload.log_name / "version_0"

    @property
    def last(self) -> dict[str, Any]:
        """The last checkpoint."""
        return AtomicCheckpointIO().load_checkpoint(self.log_folder / "checkpoints" / "last.ckpt")

    def board(self) -> EventAccumulator:
        """What TensorBoard has of the run."""
        return EventAccumulator(str(self.log_folder), {"images": 0, "tensors": 0, "scalars": 0}).Reload()

    def scalars(self) -> dict[str, list[tuple[int, float]]]:
        """Steps and values of what was measured of the splits."""
        board = self.board()
        names = [name for name in board.Tags()["scalars"] if name.partition("/")[0] in ("train", "val")]
        return {name: [(point.step, point.value) for point in board.Scalars(name)] for name in names}

    def steps(self, split: str, epoch: int) -> list[list[int]]:
        """The samples of each step of an epoch, of all ranks; what only fills a batch up is left out."""
        ranks = [
            [batch for of, number, batch in read_batches(self.record, rank) if (of, number) == (split, epoch)]
            for rank in range(self.ranks)
        ]
        return [[index for batch in step for index in batch if index >= 0] for step in zip(*ranks, strict=True)]

    def samples(self, split: str, epoch: int) -> list[int]:
        """The samples of an epoch, sorted."""
        return sorted(index for step in self.steps(split, epoch) for index in step)


class Runner:
    """What runs a workload, whole runs once only.

    Args:
        workload: what to run.
        arguments: those that make it small.
        folder: for all its runs.
        epochs: how long they are.
    """

    def __init__(self, workload: Workload, arguments: Sequence[str], folder: Path, epochs: int = 3) -> None:
        self.workload = workload
        self.epochs = epochs
        self.arguments = [
            *arguments,
            *(f"--trainer.max_epochs={epochs}", "--trainer.log_every_n_steps=2"),
            *("--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu"),
        ]
        self.folder = folder
        self._whole = cache(self._run_undisturbed)

    def whole(self, ranks: int = 1, strategy: str = "ddp") -> Run:
        """The run that nothing disturbed."""
        return self._whole(ranks, strategy)

    def _run_undisturbed(self, ranks: int, strategy: str) -> Run:
        run = Run(self.workload, self._new_folder("whole"), ranks, self.epochs)
        finish(self._start(run, strategy), run.folder / "log")
        return run

    def killed(self, ranks: int = 1, strategy: str = "ddp") -> Run:
        """A run that was killed before the last step of its second epoch, and whose last checkpoint is a step older."""
        steps = len(self.whole(ranks, strategy).steps("train", 0))
        assert steps >= 3, f"{self.workload.name} needs three steps an epoch or more, to be killed within one"
        run = Run(self.workload, self._new_folder("killed"), ranks, self.epochs)
        hold = f"--trainer.callbacks.hold_at={2 * steps - 1}"
        processes = self._start(run, strategy, f"{SAVES}={2 * steps - 2}", hold)
        deadline = time.monotonic() + 240
        while not all(self._holds(run, rank, 2 * steps) for rank in range(ranks)):
            assert time.monotonic() < deadline, run.log
            assert all(process.is_alive() for process in processes), run.log
            time.sleep(0.02)
        for process in processes:
            process.kill()
            process.join()
        data = self.workload.data.rpartition(".")[2]
        assert run.last[data] == {"epoch": 1, "done": [[steps - 2, ranks]]}
        return run

    @staticmethod
    def _holds(run: Run, rank: int, steps: int) -> bool:
        record = run.record / f"{rank}.jsonl"
        return record.exists() and record.read_text().count('["train"') == steps

    def resumed(self, killed: Run) -> Run:
        """A killed run, gone on with to its end by one process."""
        run = Run(self.workload, killed.folder, 1, self.epochs, "resumed")
        finish(self._start(run, "", "--ckpt_path=last"), run.folder / "log")
        return run

    def _start(self, run: Run, strategy: str, *more: str) -> list[ForkProcess]:
        record = ["--trainer.callbacks+=tests.recording.RecordBatches", f"--trainer.callbacks.folder={run.record}"]
        arguments = ["fit", *self.arguments, "--data.num_workers=0", *record, *more]
        if run.ranks == 1:
            return [start(arguments, run.folder, log=run.folder / "log")]
        return start_ranks(arguments, run.folder, run.ranks, run.folder / "log", strategy)

    def _new_folder(self, name: str) -> Path:
        folder = self.folder / f"{name}{len([*self.folder.iterdir()])}"
        folder.mkdir()
        return folder
