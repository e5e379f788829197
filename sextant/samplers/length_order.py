"""Random orders in which neighbors have like lengths: as random as a target of padding allows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
BINS = 512  # of the histogram that the density of the lengths is read from


@dataclass(frozen=True)
class LengthOrder:
    """Sort by a function of the length plus noise, within buckets if there are any.

    The noise is ``noise * u^2`` with uniform ``u``: most examples stay near their place, some go among longer ones. For
    the same padding (the mean distance to the edge) it makes two examples meet again 0.69 times as often as uniform
    noise does, which is close to the least that any noise can (0.67, found numerically): what counts there is the
    integral of the squared autocorrelation of the noise's density.

    Args:
        keys: what to sort by, float (N,).
        noise: width of the noise.
        buckets: the bucket of each example, int64 (N,); lower ones come first.
    """

    keys: Floats
    noise: float
    buckets: Integers

    @classmethod
    def with_padding(cls, lengths: Floats, budget: float, padding: float) -> "LengthOrder":
        """The order, as random as can be, whose batches have a given share of padding.

        A batch holds lengths from a window around its own. The wider the window, the more padding, and the more
        batch-mates to choose from. Let ``d(L)`` be the density of the lengths and ``w(L)`` the window: padding grows
        with the integral of ``d w``, and the chance to meet a batch-mate of the last epoch again with that of
        ``1 / (L w)``, since a batch has ``budget / L`` examples out of ``d w``. The one is least for a given other
        where the derivative of their weighted sum vanishes, at ``w ~ 1 / sqrt(L d)``. Noise of one width in ``g(L)``
        with ``g' = sqrt(L d)`` makes these windows; that width follows from the padding in closed form.

        Args:
            lengths: float (N,), above 0.
            budget: the most that examples times longest length may be in a batch.
            padding: padded cells as a share of all cells, in [0, 1).
        """
        none = np.zeros(len(lengths), np.int64)
        low, high = lengths.min(), lengths.max()
        if high - low <= 1e-9 * high:  # no bins fit in between
            return cls(np.zeros(len(lengths)), 1.0, none)
        bins = int(np.clip(np.sqrt(len(lengths)), 8, BINS))
        counts, edges = np.histogram(lengths, bins)
        density = np.convolve(np.pad(counts, 2, mode="edge"), [0.1, 0.2, 0.4, 0.2, 0.1], "valid") + 0.5
        middle = (edges[1:] + edges[:-1]) / 2
        slope = np.sqrt(middle * density)
        keys = np.interp(lengths, edges, np.concatenate([[0.0], np.cumsum(slope * np.diff(edges))]))
        # The mean of u^2 is 1/3, and that of the least of n draws 2 / (n + 1) / (n + 2): the longest of a batch.
        fitting = np.maximum(1.0, budget / lengths)
        distance = (1 / 3 - 2 / (fitting + 1) / (fitting + 2)) / np.interp(lengths, middle, slope)
        wanted = padding / (1 - padding) * lengths.sum()
        return cls(keys, wanted / max(distance.sum(), np.finfo(float).tiny), none)

    @classmethod
    def in_buckets(cls, lengths: Floats, boundaries: ArrayLike) -> "LengthOrder":
        """Fully random orders within buckets.

        Args:
            lengths: float (N,).
            boundaries: upper edges of the buckets, ascending; what is longer goes into one more.
        """
        buckets = np.searchsorted(np.asarray(boundaries, np.float64), lengths, side="left")
        return cls(lengths / lengths.max(), 1e12, buckets.astype(np.int64))

    @classmethod
    def in_fitted_buckets(cls, lengths: Floats, budget: float, count: int) -> "LengthOrder":
        """Fully random orders within a number of buckets, cut as :meth:`with_padding` would place its windows."""
        keys = cls.with_padding(lengths, budget, 0.0).keys
        edges = np.linspace(keys.min(), keys.max(), count + 1)[1:-1]
        return cls(lengths / lengths.max(), 1e12, np.searchsorted(edges, keys, side="left").astype(np.int64))

    def draw(self, generator: np.random.Generator, share: float = 1.0) -> Integers:
        """An order of the examples, int64 (N,), drawn with a share of the noise; 0 sorts by length."""
        keys = self.keys + share * self.noise * generator.random(len(self.keys)) ** 2
        if self.buckets.any():
            return np.lexsort((keys, self.buckets))
        return np.argsort(keys, kind="stable")
