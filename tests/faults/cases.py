"""The cases: which training is struck, by what, and when. A random one is a function of a seed and its number."""

import random
import signal
from collections.abc import Container
from dataclasses import dataclass
from inspect import signature
from pkgutil import resolve_name
from typing import Literal

from tests.workloads.workload import CONFIGS, Workload

#: When a fault comes; all but ``any time`` are moments that a run counts, so that it comes at one of them.
Moment = Literal["in a step", "between steps", "in a validation", "end of an epoch", "before a rename", "any time"]
MOMENTS: tuple[Moment, ...] = (
    *("in a step", "between steps", "in a validation", "end of an epoch", "before a rename", "any time"),
)
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)

#: Epochs of all runs.
EPOCHS = 2

SCHEDULES = {
    "step": [],  # of the workload
    "epoch": ["--model.scheduler=torch.optim.lr_scheduler.StepLR", "--model.scheduler.step_size=1"],
    "plateau": [
        *("--model.scheduler=lightning.pytorch.cli.ReduceLROnPlateau", "--model.scheduler.monitor=val/loss"),
        *("--model.scheduler.patience=0", "--model.scheduler.threshold=0.9"),
    ],
}
AVERAGING = "callbacks.weight_averaging.EMAWeightAveraging"
OPTIONS = {
    "accumulated": ["--trainer.accumulate_grad_batches=2"],
    "averaged": [f"--trainer.callbacks+={AVERAGING}"],
    "validated within": ["--trainer.val_check_interval=2"],
    "limited": ["--trainer.limit_train_batches=3"],
    "max_steps": ["--trainer.max_steps=4"],  # within the second epoch of three batches, or the first of more
}


@dataclass(frozen=True)
class Fault:
    """What strikes a run.

    Args:
        number: of the signal.
        moment: when.
        fraction: of the run's moments of that kind that it lets pass; of its time for ``any time``.
        everyone: whether it strikes all processes of the run, loader workers included, or one.
    """

    number: signal.Signals
    moment: Moment
    fraction: float = 0.0
    everyone: bool = False

    @property
    def kind(self) -> str:
        """Of the signal and the moment."""
        return f"{'SIGKILL' if self.number == signal.SIGKILL else 'signal'}, {self._when}"

    @property
    def _when(self) -> str:
        return "in the first step" if self.moment == "in a step" and not self.fraction else self.moment

    def __str__(self) -> str:
        return f"{self.number.name}{' to all' if self.everyone else ''} {self._when} ({self.fraction:.2f})"


@dataclass(frozen=True)
class Training:
    """What is trained, and how.

    Args:
        workload: its configuration.
        strategy: ``ddp`` or ``TorchRecStrategy``, with two processes; empty for one.
        schedule: one of ``SCHEDULES``.
        options: some of ``OPTIONS``.
        every_n_steps: between two checkpoints; 0 for one at the end of an epoch only.
    """

    workload: Workload
    strategy: str = ""
    schedule: str = "step"
    options: tuple[str, ...] = ()
    every_n_steps: int = 1

    @property
    def ranks(self) -> int:
        return 2 if self.strategy else 1

    @property
    def arguments(self) -> list[str]:
        """Those of the command."""
        options = [argument for name in self.options for argument in OPTIONS[name]]
        return [
            *(f"--trainer.max_epochs={EPOCHS}", f"--recovery_checkpoint.every_n_steps={self.every_n_steps}"),
            *SCHEDULES[self.schedule],
            *options,
        ]


@dataclass(frozen=True)
class Case:
    """A training that is struck.

    Args:
        training: what is struck.
        faults: one for the run, and one for each of those that go on with it.
        num_workers: processes that load data, per training process.
    """

    training: Training
    faults: tuple[Fault, ...]
    num_workers: int = 0

    def __str__(self) -> str:
        training = self.training
        words = [training.workload.name, training.strategy or "one process", f"schedule by {training.schedule}"]
        words += [*training.options, f"every {training.every_n_steps} steps", f"{self.num_workers} workers"]
        return "; ".join([", ".join(words), *(str(fault) for fault in self.faults)])


def workloads() -> list[Workload]:
    """The six workloads."""
    return [Workload(CONFIGS / file.name) for file in sorted(CONFIGS.glob("synthetic/*.yaml"))]


def strategy(workload: Workload) -> str:
    """How two processes share a workload's model."""
    return "TorchRecStrategy" if has_tables(workload) else "ddp"


def fitting_options(workload: Workload, strategy: str) -> list[str]:
    """The options that a training may have."""
    unfit = set()
    if strategy == "TorchRecStrategy":  # which steps with each batch
        unfit.add("accumulated")
    if has_tables(workload) or AVERAGING in workload.callbacks():  # tables are not averaged
        unfit.add("averaged")
    return [name for name in OPTIONS if name not in unfit]


def fitting_schedules(workload: Workload) -> list[str]:
    """The schedules that a training may have: those of tables follow steps."""
    if "scheduler" not in _settings_of_model(workload):
        return ["step"]
    return [name for name in SCHEDULES if not (has_tables(workload) and name == "plateau")]


def has_tables(workload: Workload) -> bool:
    """Whether a workload's model has embedding tables."""
    return "sparse_optimizer" in _settings_of_model(workload)


def _settings_of_model(workload: Workload) -> Container[str]:
    return signature(resolve_name(workload.model)).parameters


def chosen_cases(workload: Workload) -> list[Case]:
    """What each workload goes through: workers that get a signal too, two processes, every option that it may have."""
    kill, kinds = signal.SIGKILL, fitting_schedules(workload)
    alone, together = (frozenset(fitting_options(workload, shared)) for shared in ("", strategy(workload)))

    def training(shared: str, schedule: str, *options: str, every_n_steps: int) -> Training:
        fitting = together if shared else alone
        schedule = schedule if schedule in kinds else "step"
        return Training(workload, shared, schedule, tuple(o for o in options if o in fitting), every_n_steps)

    return [
        Case(
            training("", "plateau", "accumulated", "validated within", every_n_steps=2),
            (Fault(kill, "in a step", 0.8), Fault(signal.SIGHUP, "in a validation", 0.5, True)),
            num_workers=2,
        ),
        Case(
            training(strategy(workload), "step", "validated within", "limited", every_n_steps=1),
            (
                Fault(kill, "before a rename", 0.7),
                Fault(signal.SIGTERM, "in a step"),
                Fault(kill, "between steps", 0.9),
            ),
        ),
        Case(
            training("", "epoch", "averaged", "limited", every_n_steps=1),
            (
                Fault(signal.SIGUSR1, "end of an epoch"),
                Fault(signal.SIGINT, "before a rename"),
                Fault(kill, "any time", 0.5),
            ),
        ),
    ]


def draw_case(seed: int, number: int) -> Case:
    """A random case; four in a row are of one training, whose undisturbed run they share.

    Args:
        seed: of all cases.
        number: of this one.
    """
    draw = random.Random(f"training {seed} {number // 4}")
    all_workloads = workloads()
    workload = all_workloads[number // 4 % len(all_workloads)]
    shared = draw.choice(["", strategy(workload)])
    options = draw.sample(fitting_options(workload, shared), draw.choice([0, 1, 1, 2, 3]))
    training = Training(
        workload,
        shared,
        draw.choice(fitting_schedules(workload)),
        tuple(name for name in OPTIONS if name in options),
        draw.choice([0, 1, 2, 2, 3]),
    )
    draw = random.Random(f"fault {seed} {number}")
    faults = tuple(draw_fault(draw) for _ in range(draw.choice([1, 2, 3, 4])))
    return Case(training, faults, draw.choice([0, 2]))


def draw_fault(draw: random.Random) -> Fault:
    """A random fault: as often a kill as a signal."""
    number = draw.choice([signal.SIGKILL, draw.choice(SIGNALS)])
    moment = draw.choice([*MOMENTS, "any time", "in a step"])
    first = moment == "in a step" and draw.random() < 0.2
    return Fault(number, moment, 0.0 if first else draw.random(), draw.random() < 0.5)


def random_cases(seed: int, faults: int) -> list[Case]:
    """The first cases of a seed that have so many faults together."""
    cases: list[Case] = []
    while sum(len(case.faults) for case in cases) < faults:
        cases.append(draw_case(seed, len(cases)))
    return cases
