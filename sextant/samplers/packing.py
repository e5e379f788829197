"""The division of an order of examples into batches that hold as many as a budget allows."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def pack(costs: Floats, budgets: Floats, max_examples: int | None = None) -> Integers:
    """Batches that are filled greedily along an order.

    A batch costs its number of examples times the highest cost among them, as padding to the longest makes it, and
    never more than the budget; an example that costs more by itself is a batch of its own.

    Args:
        costs: (N, A), what each example costs, in order, in A kinds of cost at a time; above 0.
        budgets: (A,), the most that a batch may cost in each kind.
        max_examples: the most examples in a batch.

    Returns:
        Where batches begin, int64 (batches,), ascending from 0.
    """
    total = len(costs)
    counts = np.arange(1, total + 1, dtype=np.float64)
    starts, start = [], 0
    while start < total:
        starts.append(start)
        # No more than this fit in, since the first one costs as much as it does.
        most = int(max(1, np.min(budgets // costs[start])))
        if max_examples is not None:
            most = min(most, max_examples)
        end = min(start + most, total)
        fitting = end - start
        for kind, budget in enumerate(budgets):
            highest = np.maximum.accumulate(costs[start:end, kind])
            fitting = min(fitting, int(np.searchsorted(highest * counts[: end - start], budget, side="right")))
        start += max(1, fitting)
    return np.array(starts, np.int64)


def halve_largest(starts: Integers, sizes: Integers, batches: int) -> tuple[Integers, Integers]:
    """The batches after those with the most examples are halved until there are as many as are wanted.

    Args:
        starts: where batches begin, int64 (n,).
        sizes: number of examples in each, int64 (n,).
        batches: number that is wanted, at least n and at most as many as there are examples.

    Returns:
        Where they begin now, and the number of examples in each, int64 (batches,) each.
    """
    starts, sizes = starts.copy(), sizes.copy()
    while len(starts) < batches:
        largest = np.argsort(-sizes, kind="stable")[: batches - len(starts)]
        largest = largest[sizes[largest] > 1]
        second = sizes[largest] // 2
        sizes[largest] -= second
        starts = np.concatenate([starts, starts[largest] + sizes[largest]])
        sizes = np.concatenate([sizes, second])
    return starts, sizes
