"""Trials: a run is struck, the same command goes on with it, and its end is compared with an undisturbed run's."""

import importlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing.context import ForkProcess
from pathlib import Path

from tests.faults.cases import Case, Fault, Training
from tests.faults.comparison import differences, run_folder
from tests.faults.strike import Notes, Order
from tests.launch import start, start_ranks

#: Seconds after which a run hangs.
TIMEOUT = 240
#: Seconds that a process may take until it handles signals.
FIRST = 0.3
#: The moments of a kind of which one is struck in a resumed run, which may have few left.
MOST_IN_RESUMED = 3


@dataclass
class Struck:
    """What a fault did.

    Args:
        fault: that came before the run had ended.
        resumed: whether there was a checkpoint to go on from.
        lost: the optimizer steps that had to be made again.
    """

    fault: Fault
    resumed: bool = True
    lost: int = 0


@dataclass
class Outcome:
    """What has become of a case.

    Args:
        struck: the faults that came before the run had ended.
        wrong: what differs from the undisturbed run, or how a command failed.
    """

    struck: list[Struck] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Undisturbed:
    """A run that nothing disturbed.

    Args:
        folder: of the run.
        notes: of its processes.
        seconds: that it took.
    """

    folder: Path
    notes: list[Notes]
    seconds: float


class Trials:
    """What tries cases.

    Args:
        small: the arguments by which a command runs a workload on small data.
        folder: for all runs.
    """

    def __init__(self, small: Callable[[str], list[str]], folder: Path) -> None:
        self._small = small
        self._folder = folder
        self._count = 0
        self.undisturbed = lru_cache(maxsize=None)(self._run_undisturbed)

    def run(self, case: Case) -> Outcome:
        """Try a case."""
        try:
            whole = self.undisturbed(case.training)
        except AssertionError as error:
            return Outcome(wrong=[f"the undisturbed run failed: {error}"])
        folder, outcome = self._new_folder(), Outcome()
        steps = 0
        waiting: list[Struck] = []  # for a command that trains again
        for attempt, fault in enumerate((*case.faults, None)):
            command = _Command(self._arguments(case), case.training, folder, attempt)
            order, delay = _order(fault, whole, attempt, command.notes_folder)
            command.start(order)
            codes = command.wait(fault, delay)
            notes = Notes(command.notes_folder, 0)
            outcome.wrong += command.unexpected(codes, fault, notes)
            if outcome.wrong:
                return outcome
            if notes.began_at is not None:
                _account(waiting, steps, notes.began_at, outcome)
                steps = max(notes.made, notes.began_at)
            if fault is not None and (any(codes) or notes.struck):  # a signal may find nothing left to do but to end
                waiting.append(Struck(fault))
                outcome.struck.append(waiting[-1])
        outcome.wrong += differences(run_folder(whole.folder), run_folder(folder))
        if not outcome.wrong:
            shutil.rmtree(folder)
        return outcome

    def _arguments(self, case: Case) -> list[str]:
        return [
            *("fit", *self._small(case.training.workload.name), *case.training.arguments),
            *(f"--data.num_workers={case.num_workers}", "--ckpt_path=auto"),
            *("--trainer.log_every_n_steps=1", "--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu"),
            "--trainer.callbacks+=tests.faults.strike.Strike",
        ]

    def _run_undisturbed(self, training: Training) -> Undisturbed:
        folder = self._new_folder()
        command = _Command(self._arguments(Case(training, ())), training, folder, 0)
        began = time.monotonic()
        command.start(Order(str(command.notes_folder)))
        codes = command.wait()
        if any(codes):
            raise AssertionError(f"{training}: exit codes {codes}:\n{command.log.read_text()}")
        notes = [Notes(command.notes_folder, rank) for rank in range(training.ranks)]
        for name in notes[0].modules:  # imported here, no fork of this process has to
            if name.partition(".")[0] in ("modules", "datamodules", "callbacks"):
                importlib.import_module(name)
        return Undisturbed(folder, notes, time.monotonic() - began)

    def _new_folder(self) -> Path:
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        return folder


class _Command:
    """A command in processes of its own, which are one group.

    Args:
        arguments: of the command.
        training: says how many processes there are.
        folder: in which it runs.
        attempt: how often it ran there before.
    """

    def __init__(self, arguments: Sequence[str], training: Training, folder: Path, attempt: int) -> None:
        self._arguments = arguments
        self._training = training
        self._folder = folder
        self.notes_folder = folder / f"notes{attempt}"
        self.notes_folder.mkdir()
        self.log = folder / f"log{attempt}"
        self._processes: list[ForkProcess] = []

    def start(self, order: Order) -> None:
        environment = order.environment()
        if self._training.ranks == 1:
            self._processes = [start(self._arguments, self._folder, environment, self.log)]
        else:
            self._processes = start_ranks(
                self._arguments, self._folder, self._training.ranks, self.log, self._training.strategy, environment
            )
        for process in self._processes:
            os.setpgid(process.pid or 0, self._group)

    @property
    def _group(self) -> int:
        pid = self._processes[0].pid
        assert pid is not None
        return pid

    def wait(self, fault: Fault | None = None, delay: float | None = None) -> list[int | None]:
        """Wait until all processes have ended, or one was killed, and end the others then.

        Args:
            fault: what strikes them.
            delay: the seconds after which it strikes; None if they do it themselves.

        Returns:
            Their exit codes; None for one that hung.
        """
        deadline = time.monotonic() + TIMEOUT
        try:
            if fault is not None and delay is not None:
                self._strike(fault, delay)
            while any(process.is_alive() for process in self._processes) and time.monotonic() < deadline:
                next(process for process in self._processes if process.is_alive()).join(0.02)
                if any(process.exitcode == -signal.SIGKILL for process in self._processes):
                    break
            return [process.exitcode for process in self._processes]
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self._group, signal.SIGKILL)  # also what loader workers are left
            for process in self._processes:
                process.join()

    def _strike(self, fault: Fault, delay: float) -> None:
        last = self._processes[-1]
        last.join(delay)
        if last.exitcode is None and last.pid is not None:
            if fault.everyone:
                os.killpg(self._group, fault.number)
            else:
                os.kill(last.pid, fault.number)

    def unexpected(self, codes: Sequence[int | None], fault: Fault | None, notes: Notes) -> list[str]:
        """How the command ended, if neither well nor as its fault has it.

        Args:
            codes: the exit codes.
            fault: what struck it, if it had not ended before.
            notes: of the first process.
        """
        expected = {0}
        if fault is not None:
            expected.add(128 + fault.number)
            if fault.number == signal.SIGKILL or not notes.words:  # before there is a handler
                expected.add(-fault.number)
        killed = fault is not None and fault.number == signal.SIGKILL and -signal.SIGKILL in codes
        if killed or (set(codes) <= expected and len(set(codes)) == 1):
            return []
        return [f"exit codes {codes}, {fault or 'no fault'}; {self.log}"]


def _account(waiting: list[Struck], steps: int, began_at: int, outcome: Outcome) -> None:
    """Say what was lost by the faults since a command trained: by the first of them, which the others found done.

    Args:
        waiting: these faults, which are none afterwards.
        steps: that had been made.
        began_at: how many were there.
        outcome: of the case.
    """
    for struck in waiting:
        struck.resumed = began_at > 0
    if waiting:
        waiting[0].lost = steps - began_at
        if waiting[0].lost and waiting[0].fault.number != signal.SIGKILL:
            outcome.wrong.append(f"{waiting[0].fault} lost {waiting[0].lost} steps")
    waiting.clear()


def _order(fault: Fault | None, whole: Undisturbed, attempt: int, folder: Path) -> tuple[Order, float | None]:
    """What a run is told, and after how many seconds it is struck from outside, if it is."""
    if fault is None:
        return Order(str(folder)), None
    if fault.moment == "any time":
        return Order(str(folder)), FIRST + fault.fraction * (whole.seconds - FIRST)
    rank = 0 if fault.moment == "before a rename" else len(whole.notes) - 1  # the first one alone renames
    most = whole.notes[rank].count(fault.moment)
    if attempt:
        most = min(most, MOST_IN_RESUMED)
    count = 1 + int(fault.fraction * most)
    return Order(str(folder), fault.moment, count, fault.number, fault.everyone, rank), None
