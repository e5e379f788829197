"""Two optimizers as one: both step, and their state goes by names."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import ExponentialLR, LRScheduler

from modules.row_wise_adagrad import RowWiseAdagrad
from modules.sparse_and_dense import SparseAndDense, SparseAndDenseSchedule
from sextant.errors import InputError

NAMES = ("t.a", "t.b", "net.w", "net.v")


def parameters() -> dict[str, nn.Parameter]:
    return {name: nn.Parameter(torch.arange(6.0).reshape(3, 2) + i) for i, name in enumerate(NAMES)}


def make(
    named: dict[str, nn.Parameter], tables: list[str] | None = None, sparse: Any = RowWiseAdagrad
) -> SparseAndDense:
    tables = [name for name in named if name.startswith("t.")] if tables is None else tables
    others = [value for name, value in named.items() if name.startswith("net.")]
    return SparseAndDense(
        sparse([{"params": [named[name] for name in tables]}], lr=0.5),
        torch.optim.Adam([{"params": others}], lr=0.1),
        {value: name for name, value in named.items()},
    )


def step(named: dict[str, nn.Parameter], optimizer: SparseAndDense, seed: int) -> None:
    for i, name in enumerate(NAMES):
        if name in named:
            named[name].grad = torch.randn(3, 2, generator=torch.Generator().manual_seed(10 * seed + i))
    optimizer.step()


def test_both_step_as_they_would_by_themselves() -> None:
    one, other = parameters(), parameters()
    optimizer = make(one)
    apart = [
        RowWiseAdagrad([other["t.a"], other["t.b"]], lr=0.5),
        torch.optim.Adam([other["net.w"], other["net.v"]], lr=0.1),
    ]
    for seed in range(3):
        step(one, optimizer, seed)
        for name in NAMES:
            other[name].grad = one[name].grad
        for part in apart:
            part.step()
    for name in NAMES:
        assert torch.equal(one[name], other[name])


def test_state_goes_by_names_so_that_the_order_does_not_matter() -> None:
    one = parameters()
    first = make(one)
    step(one, first, 0)
    state = deepcopy(first.state_dict())
    assert set(state["state"]) == set(NAMES)
    assert [group["name"] for group in state["param_groups"]] == ["sparse", "dense"]
    other = {name: nn.Parameter(one[name].detach().clone()) for name in reversed(NAMES)}
    second = make(other)
    second.load_state_dict(state)
    for seed in (1, 2):
        step(one, first, seed)
        step(other, second, seed)
    for name in NAMES:
        assert torch.equal(one[name], other[name]), name


def test_state_of_a_table_that_is_optimized_elsewhere_may_be_absent() -> None:
    """As where some tables are sharded; the settings of their group are kept all the same."""
    one = parameters()
    first = make(one, tables=["t.b"])
    step(one, first, 0)
    state = deepcopy(first.state_dict())
    assert set(state["state"]) == {"t.b", "net.w", "net.v"}
    other = {name: nn.Parameter(one[name].detach().clone()) for name in NAMES}
    second = make(other)
    second.load_state_dict(state)
    step(one, first, 1)
    step(other, second, 1)
    assert torch.equal(one["t.b"], other["t.b"])
    none = make(parameters(), tables=[])
    none.load_state_dict({**state, "state": {k: v for k, v in state["state"].items() if k != "t.b"}})
    assert none.param_groups[0]["lr"] == 0.5


def test_state_of_unknown_parameters_is_an_error() -> None:
    one = parameters()
    first = make(one)
    step(one, first, 0)
    state = deepcopy(first.state_dict())
    state["state"]["t.z"] = state["state"]["t.a"]
    with pytest.raises(InputError, match=r"state for t\.z, which this model does not have"):
        make(parameters()).load_state_dict(state)


def test_settings_that_the_other_kind_of_optimizer_does_not_have_stay() -> None:
    first = make(parameters())
    state = deepcopy(first.state_dict())
    state["param_groups"][0]["lr"] = 0.25
    named = parameters()
    second = make(named, sparse=torch.optim.Adagrad)
    second.load_state_dict(state)
    assert second.param_groups[0]["lr"] == 0.25
    step(named, second, 0)


def test_closure_is_called_once_before_both_steps() -> None:
    named = parameters()
    before = {name: value.detach().clone() for name, value in named.items()}
    optimizer = make(named)
    calls: list[None] = []

    def closure() -> float:
        assert torch.is_grad_enabled()
        assert all(torch.equal(named[name], before[name]) for name in NAMES)
        calls.append(None)
        for value in named.values():
            value.grad = torch.ones_like(value)
        return 3.0

    assert optimizer.step(closure) == 3.0
    assert len(calls) == 1
    assert all(not torch.equal(named[name], before[name]) for name in NAMES)


def test_gradients_of_both_are_zeroed() -> None:
    named = parameters()
    optimizer = make(named)
    step(named, optimizer, 0)
    optimizer.zero_grad()
    assert all(value.grad is None for value in named.values())


@pytest.mark.parametrize("reloaded", [False, True])
def test_schedules_set_the_rates_that_are_stepped_with(reloaded: bool) -> None:
    named = parameters()
    optimizer = make(named, sparse=torch.optim.SGD)
    parts: list[LRScheduler] = [ExponentialLR(optimizer.sparse, 0.5), ExponentialLR(optimizer.dense, 0.1)]
    schedule = SparseAndDenseSchedule(optimizer, parts)
    step(named, optimizer, 0)
    schedule.step()
    if reloaded:
        states = optimizer.state_dict(), schedule.state_dict()
        named = {name: nn.Parameter(value.detach().clone()) for name, value in named.items()}
        optimizer = make(named, sparse=torch.optim.SGD)
        parts = [ExponentialLR(optimizer.sparse, 0.5), ExponentialLR(optimizer.dense, 0.1)]
        schedule = SparseAndDenseSchedule(optimizer, parts)
        optimizer.load_state_dict(states[0])
        schedule.load_state_dict(states[1])
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.25, 0.01])
    before = named["t.a"].detach().clone()
    step(named, optimizer, 1)
    assert named["t.a"].grad is not None
    assert torch.allclose(named["t.a"], before - 0.25 * named["t.a"].grad)
    schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.125, 0.001])
    assert schedule.get_last_lr() == pytest.approx([0.125, 0.001])


def test_one_of_the_schedules_is_enough() -> None:
    optimizer = make(parameters())
    schedule = SparseAndDenseSchedule(optimizer, [ExponentialLR(optimizer.dense, 0.1)])
    schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.5, 0.01])
