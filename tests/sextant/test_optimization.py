"""Schedules and parameter groups."""

import math
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.optim import Optimizer
from typing_extensions import override

from sextant.optimization import (
    Optimization,
    PolynomialDecay,
    WarmupCosine,
    named_groups,
    parameter_groups,
    state_bytes,
)
from tests.datamodules.recorder import bare_trainer
from tests.sextant.tiny import Line, PointsData


def rates(total_steps: int, warmup: float, final: float) -> list[float]:
    """The learning rate of each step of a run, with a peak of 1."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = WarmupCosine(optimizer, warmup=warmup, final=final, total_steps=total_steps)
    seen = []
    for _ in range(total_steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


@given(st.integers(1, 300), st.floats(0, 0.9), st.floats(0, 1))
def test_rate_rises_to_the_peak_and_falls_to_the_final_share(total: int, warmup: float, final: float) -> None:
    seen = rates(total, warmup, final)
    top = seen.index(max(seen))
    assert all(a <= b for a, b in pairwise(seen[: top + 1]))
    assert all(a >= b for a, b in pairwise(seen[top:]))
    assert all(0 < rate <= 1 or math.isclose(rate, final) for rate in seen)
    if warmup * total <= total - 1:  # otherwise the run ends within the warm-up
        assert min(seen[top:]) >= final - 1e-9


def test_rate_is_half_a_cosine_after_the_warm_up() -> None:
    seen = rates(100, warmup=0.2, final=0.0)
    assert seen[:20] == pytest.approx([(k + 1) / 21 for k in range(20)])
    assert seen[20:] == pytest.approx([0.5 * (1 + math.cos(math.pi * k / 80)) for k in range(80)])


def test_position_in_the_schedule_is_state_and_its_shape_is_configuration() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    old = WarmupCosine(optimizer, total_steps=10)
    for _ in range(4):
        optimizer.step()
        old.step()
    new = WarmupCosine(optimizer, warmup=0.3, total_steps=20)
    new.load_state_dict(old.state_dict())
    assert new.last_epoch == 4
    assert (new.total_steps, new.warmup) == (20, 0.3)


def test_norms_and_biases_are_in_the_group_without_decay() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    decayed, spared = parameter_groups(network, decay_norm_and_bias=False)
    assert {p.shape for p in decayed["params"]} == {(4, 3, 3, 3), (2, 4)}
    assert len(spared["params"]) == 4
    assert spared["weight_decay"] == 0.0
    assert len(parameter_groups(network, decay_norm_and_bias=True)) == 1


@pytest.mark.parametrize(
    ("together", "names"),
    [(False, ["backbone/decay", "backbone/no_decay", "head/decay", "head/no_decay"]), (True, ["backbone", "head"])],
)
def test_groups_are_named_after_their_part_and_what_is_decayed(together: bool, names: list[str]) -> None:
    parts = {"backbone": nn.Linear(2, 2), "head": nn.Linear(2, 2)}
    groups = [g for name, part in parts.items() for g in named_groups(name, parameter_groups(part, together), 0.5)]
    optimizer = torch.optim.AdamW(groups)
    assert [group["name"] for group in optimizer.param_groups] == names
    assert {group["lr_factor"] for group in optimizer.param_groups} == {0.5}


def test_state_of_groups_without_names_is_taken_on() -> None:
    old, new = (torch.optim.SGD(parameter_groups(nn.Linear(2, 2), False), momentum=0.9) for _ in range(2))
    state = old.state_dict()
    for group in state["param_groups"]:
        del group["name"]
        group["lr"] = 0.25
    new.load_state_dict(state)
    assert [group["lr"] for group in new.param_groups] == [0.25, 0.25]


def test_polynomial_decay_spans_the_run_and_each_group_has_its_peak() -> None:
    model, heads = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    module = LightningModule()
    module._trainer = SimpleNamespace(estimated_stepping_batches=10)  # type: ignore[assignment]
    optimization = Optimization(lambda groups: torch.optim.SGD(groups, lr=2.0), lambda o: PolynomialDecay(o, power=2))
    configured = optimization.configure(module, [{"params": [model]}, {"params": [heads], "lr_factor": 10.0}])
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]
    assert schedule["interval"] == "step"
    seen = []
    for _ in range(11):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule["scheduler"].step()
    for step, rates_then in enumerate(seen):
        assert rates_then == pytest.approx([2 * (1 - step / 10) ** 2, 20 * (1 - step / 10) ** 2])
    assert schedule["scheduler"].state_dict().keys().isdisjoint({"power", "total_steps"})


class Rates(Callback):
    """The learning rate that each optimizer step has."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    @override
    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        self.seen.append(optimizer.param_groups[0]["lr"])


def test_every_step_of_a_run_has_its_rate_from_the_first_on(tmp_path: Path) -> None:
    steps = Rates()
    line = Line(partial(torch.optim.SGD, lr=0.1), scheduler=partial(WarmupCosine, warmup=0.5))
    bare_trainer(tmp_path, max_epochs=4, callbacks=[steps]).fit(line, datamodule=PointsData(batch_size=4))
    warmup = [0.1 * (k + 1) / 5 for k in range(4)]  # of the eight steps of the run
    assert steps.seen == pytest.approx([*warmup, *(0.05 * (1 + math.cos(math.pi * k / 4)) for k in range(4))])


@pytest.mark.parametrize(
    ("make", "numbers"),
    [
        (lambda groups: torch.optim.AdamW(groups), 2 * 24),
        (lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9), 24),
        (lambda groups: torch.optim.SGD(groups, lr=0.1), 0),
        (lambda groups: torch.optim.Adagrad(groups), 24),
        (lambda groups: torch.optim.LBFGS(groups), 0),  # it is not known
    ],
)
def test_state_of_an_optimizer_is_known_before_it_is_there(make: Any, numbers: int) -> None:
    """A matrix of 4 x 5, and 4 biases."""
    assert state_bytes(make, [torch.Size((4, 5)), torch.Size((4,))], 4) == 4 * numbers
