"""Windows of a token stream whose borders move from epoch to epoch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sextant.samplers.fixed.shuffled import ShuffledBatches


class RandomOffsetWindows(ShuffledBatches):
    """Windows of a stream of tokens in shuffled order, with another offset in each epoch.

    The offset, below ``length``, is a function of ``(seed, epoch)`` alone, as the order is. Every epoch has the same
    number of windows: less than two windows' worth of tokens is left out at the ends of the stream, other ones in
    each epoch.

    What it gives are positions in the stream at which windows begin.

    Args:
        tokens: length of the stream.
        length: length of a window.
        batch_size: windows in a batch, over all ranks.
        options: as of :class:`ShuffledBatches`.
    """

    def __init__(self, tokens: int, batch_size: int, *, length: int, **options: Any) -> None:
        super().__init__(windows(tokens, length), batch_size, **options)
        self.length = length

    @override
    def order(self) -> NDArray[np.int64]:
        # The stream of random numbers after the permutation's seed: another one than the order itself draws from.
        offset = np.random.default_rng([self.seed, self.epoch, 1]).integers(self.length)
        return offset + self.length * super().order()


def windows(tokens: int, length: int) -> int:
    """How many windows of ``length`` tokens, each with the token after it, fit in at any offset below ``length``."""
    return max(0, (tokens - length) // length)
