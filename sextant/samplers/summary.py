"""The figures of an epoch of dynamic batches."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """The figures of the batches of an epoch, over all ranks.

    Args:
        batches: number of batches.
        examples: number of examples in all batches.
        padding: padded cells as a fraction of all cells, in [0, 1), of the first kind of length.
        fill: mean fraction of the budget that a batch uses; above 1 only where examples are too long.
        smallest: examples in the smallest batch.
        largest: examples in the largest batch.
        shortest: length of the shortest example.
        longest: length of the longest example.
        too_long: number of examples that are longer than the budget.
        left_out: number of examples that are in no batch.
    """

    batches: int
    examples: int
    padding: float
    fill: float
    smallest: int
    largest: int
    shortest: float
    longest: float
    too_long: int
    left_out: int

    def __str__(self) -> str:
        return (
            f"{self.batches:,} batches of {self.smallest:,} to {self.largest:,} examples, {self.examples:,} in all, "
            f"{self.shortest:g} to {self.longest:g} long; {100 * self.padding:.1f} % padding, budget filled to "
            f"{100 * self.fill:.1f} %; {self.too_long:,} longer than the budget, {self.left_out:,} left out"
        )
