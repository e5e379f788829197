"""The batches of an epoch as three arrays, so that a million examples take little time and memory."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sextant.samplers.packing import halve_largest


@dataclass(frozen=True)
class Plan:
    """The batches of an epoch in the order of the steps; those of a step, one for each rank, stand together.

    Args:
        order: the examples, int64 (N,).
        starts: where batches begin in ``order``, int64 (batches,).
        sizes: number of examples in each batch, int64 (batches,).
    """

    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def __len__(self) -> int:
        """The number of batches."""
        return len(self.starts)

    def __getitem__(self, place: int) -> list[int]:
        """The examples of a batch."""
        start = self.starts[place]
        examples: list[int] = self.order[start : start + self.sizes[place]].tolist()
        return examples

    def select(self, batches: NDArray[np.int64] | slice) -> "Plan":
        """The plan of some of the batches, in the order in which they are named."""
        return Plan(self.order, self.starts[batches], self.sizes[batches])

    def largest(self, batches: int) -> "Plan":
        """The plan of so many of the batches with the most examples, in the order they have."""
        return self.select(np.sort(np.argsort(-self.sizes, kind="stable")[:batches]))

    def divided(self, batches: int) -> "Plan":
        """The plan with the largest batches halved until there are so many."""
        return Plan(self.order, *halve_largest(self.starts, self.sizes, batches))

    def highest(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of values (N, A) of all examples, the highest in each batch, (batches, A)."""
        in_order = np.concatenate([values[self.order], np.zeros((1, values.shape[1]))])
        by_start = np.argsort(self.starts)
        borders = np.stack([self.starts, self.starts + self.sizes], 1)[by_start]
        highest = np.empty((len(self.starts), values.shape[1]))
        # Every other result is that of what lies between two batches.
        highest[by_start] = np.maximum.reduceat(in_order, borders.ravel())[::2]
        return highest
