"""Row-wise Adagrad against its formula, and sparse gradients against dense ones."""

from copy import deepcopy
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.row_wise_adagrad import RowWiseAdagrad
from sextant.optimization import state_bytes

LOOKUPS = st.lists(st.lists(st.integers(0, 5), max_size=8), min_size=1, max_size=4)


def gradients(steps: list[list[int]], seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """For each step the rows that are looked up, also twice, and the gradient of each lookup."""
    draw = torch.Generator().manual_seed(seed)
    return [(torch.tensor(rows, dtype=torch.int64), torch.randn(len(rows), 3, generator=draw)) for rows in steps]


@settings(deadline=None)
@given(LOOKUPS, st.integers(0, 1000), st.floats(0.001, 10), st.sampled_from([1e-8, 0.1]))
def test_sparse_and_dense_gradients_give_what_the_formula_does(
    steps: list[list[int]], seed: int, lr: float, eps: float
) -> None:
    begin = torch.randn(6, 3, generator=torch.Generator().manual_seed(seed + 1))
    tables = [torch.nn.Parameter(begin.clone()) for _ in range(2)]
    optimizers = [RowWiseAdagrad([table], lr, eps) for table in tables]
    wanted, sums = begin.double(), torch.zeros(6).double()
    for rows, values in gradients(steps, seed):
        dense = torch.zeros(6, 3).index_add(0, rows, values)
        tables[0].grad = torch.sparse_coo_tensor(rows[None], values, (6, 3), check_invariants=True)
        tables[1].grad = dense
        for optimizer in optimizers:
            optimizer.step()
        for row in range(6):
            g = dense[row].double()
            sums[row] += (g * g).sum() / 3
            if sums[row] > 0:
                wanted[row] -= lr * g / (sums[row].sqrt() + eps)
    for table, optimizer in zip(tables, optimizers, strict=True):
        assert torch.allclose(table.double(), wanted, rtol=1e-4, atol=1e-4 * lr)
        assert torch.allclose(optimizer.state[table]["sum"][:, 0].double(), sums, rtol=1e-4, atol=1e-6)
    looked_up = {row for rows in steps for row in rows}
    for row in set(range(6)) - looked_up:
        assert torch.equal(tables[0][row], begin[row])


def test_state_goes_on_where_it_was() -> None:
    def step(table: torch.nn.Parameter, optimizer: RowWiseAdagrad, seed: int) -> None:
        table.grad = torch.randn(4, 2, generator=torch.Generator().manual_seed(seed))
        optimizer.step()

    one, other = (torch.nn.Parameter(torch.ones(4, 2)) for _ in range(2))
    first = RowWiseAdagrad([one], lr=0.5)
    step(one, first, 0)
    other.data.copy_(one)
    second = RowWiseAdagrad([other], lr=0.1)
    second.load_state_dict(deepcopy(first.state_dict()))
    step(one, first, 1)
    step(other, second, 1)
    assert torch.equal(one, other)


def test_groups_have_rates_of_their_own_and_tables_without_gradient_stay() -> None:
    tables = [torch.nn.Parameter(torch.zeros(2, 2)) for _ in range(3)]
    optimizer = RowWiseAdagrad([{"params": tables[:1], "lr": 1.0}, {"params": tables[1:]}], lr=0.5)
    for table in tables[:2]:
        table.grad = torch.ones(2, 2)
    optimizer.step()
    assert torch.allclose(tables[0], torch.tensor(-1.0))
    assert torch.allclose(tables[1], torch.tensor(-0.5))
    assert (tables[2] == 0).all()
    assert tables[2] not in optimizer.state


def test_closure_is_called_once_with_gradients() -> None:
    table = torch.nn.Parameter(torch.ones(2, 2))
    calls: list[Any] = []

    def closure() -> torch.Tensor:
        assert torch.is_grad_enabled()
        calls.append(None)
        loss = table.sum()
        loss.backward()
        return loss

    assert RowWiseAdagrad([table], lr=1.0).step(closure).item() == 4.0
    assert len(calls) == 1
    assert torch.allclose(table, torch.tensor(0.0))


def test_state_is_known_before_it_is_there() -> None:
    assert state_bytes(RowWiseAdagrad, [torch.Size((100, 8)), torch.Size((7, 8))], 4) == 4 * 107
