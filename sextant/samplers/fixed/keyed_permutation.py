"""A random order of any number of rows that takes no memory: every place is computed."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

ROUNDS = 8
# The constants of SplitMix64's output function (Steele, Lea and Flood 2014, https://doi.org/10.1145/2714064.2660195).
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix the bits of 64-bit numbers one to one, so that each bit of the result depends on all bits of the number."""
    mixed = (values ^ (values >> np.uint64(30))) * FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * SECOND
    return mixed ^ (mixed >> np.uint64(31))


class KeyedPermutation:
    """A permutation of 0, 1, ..., ``size - 1`` that is a pure function of a key.

    The bits of a number are split in two, and each part in turn is changed by a keyed function of the other (a Feistel
    network); a result that is too large goes through the network again until it fits. So an order of billions of rows
    is there at once, for as many of its places as are asked for, and where a row stands can be computed as well.

    Args:
        size: number of numbers, at least 1 and below 2**62.
        key: numbers of 0 or more that say which permutation it is.
    """

    def __init__(self, size: int, key: Sequence[int]) -> None:
        self.size = size
        bits = max(2, (size - 1).bit_length())
        self._low = np.uint64(bits // 2)
        self._low_mask = np.uint64((1 << (bits // 2)) - 1)
        self._high_mask = np.uint64((1 << (bits - bits // 2)) - 1)
        self._keys = np.random.SeedSequence(key).generate_state(ROUNDS, np.uint64)

    def __getitem__(self, places: ArrayLike) -> NDArray[np.int64]:
        """The numbers at some places, int64, in the shape of ``places``."""
        return self._walk(places, self._forward)

    def places(self, numbers: ArrayLike) -> NDArray[np.int64]:
        """Where some numbers stand, int64, in the shape of ``numbers``."""
        return self._walk(numbers, self._backward)

    def _walk(self, numbers: ArrayLike, step: Callable[[NDArray[np.uint64]], NDArray[np.uint64]]) -> NDArray[np.int64]:
        given = np.asarray(numbers, np.int64)
        found = step(given.astype(np.uint64).reshape(-1))
        outside = np.flatnonzero(found >= self.size)
        while outside.size:
            found[outside] = step(found[outside])
            outside = outside[found[outside] >= self.size]
        return found.astype(np.int64).reshape(given.shape)

    def _forward(self, numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
        low, high = numbers & self._low_mask, numbers >> self._low
        for i, key in enumerate(self._keys):
            if i % 2:
                low ^= mix(high + key) & self._low_mask
            else:
                high ^= mix(low + key) & self._high_mask
        return (high << self._low) | low

    def _backward(self, numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
        low, high = numbers & self._low_mask, numbers >> self._low
        for i, key in reversed(list(enumerate(self._keys))):
            if i % 2:
                low ^= mix(high + key) & self._low_mask
            else:
                high ^= mix(low + key) & self._high_mask
        return (high << self._low) | low
