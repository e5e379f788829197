"""Random orders in which neighbors have like lengths: as random as a target of padding allows."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sextant.samplers.packing import pack

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
BINS = 512  # of the histogram that the density of the lengths is read from
CALIBRATIONS = 6  # times that the padding of an epoch is measured to meet the target
CLOSE = 0.1  # fraction of the target within which it is met


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
        """The most random order whose batches have a given fraction of padding.

        A batch holds lengths from a window around its own. The wider the window, the more padding, and the more
        batch-mates to choose from. Let ``d(L)`` be the density of the lengths and ``w(L)`` the window: padding grows
        with the integral of ``d w``, and the probability to meet a batch-mate of the last epoch again with that of
        ``1 / (L w)``, since a batch has ``budget / L`` examples out of ``d w``. The one is least for a given other
        where the derivative of their weighted sum vanishes, at ``w ~ 1 / sqrt(L d)``. Noise of one width in ``g(L)``
        with ``g' = sqrt(L d)`` makes these windows; that width follows from the padding in closed form.

        Args:
            lengths: float (N,), above 0.
            budget: the most that examples times longest length may be in a batch.
            padding: padded cells as a fraction of all cells, in [0, 1).
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
        """Fully random orders within a number of buckets, as wide as the windows of :meth:`with_padding`."""
        keys = cls.with_padding(lengths, budget, 0.0).keys
        edges = np.linspace(keys.min(), keys.max(), count + 1)[1:-1]
        return cls(lengths / lengths.max(), 1e12, np.searchsorted(edges, keys, side="left").astype(np.int64))

    def draw(self, generator: np.random.Generator, noise: float = 1.0) -> Integers:
        """An order of the examples, int64 (N,), drawn with a fraction of the noise; 0 sorts by length."""
        keys = self.keys + noise * self.noise * generator.random(len(self.keys)) ** 2
        if self.buckets.any():
            return np.lexsort((keys, self.buckets))
        return np.argsort(keys, kind="stable")

    def calibrated(
        self,
        lengths: Floats,
        budget: float,
        max_examples: int | None,
        padding: float,
        generator: Callable[[], np.random.Generator],
    ) -> "LengthOrder":
        """The order with the noise adjusted to the padding that it really makes, which gaps in the lengths change.

        Args:
            lengths: float (N,), above 0.
            budget: the most that examples times longest length may be in a batch.
            max_examples: the most examples in a batch.
            padding: padded cells as a fraction of all cells, in (0, 1).
            generator: makes the generator of the order that is measured, the same each time.
        """

        def measured(noise: float) -> float:
            order = self.draw(generator(), noise)
            starts = pack(lengths[order, None], np.array([budget]), max_examples)
            cells = np.maximum.reduceat(lengths[order], starts) * np.diff(starts, append=len(order))
            return float(1 - lengths.sum() / cells.sum())

        below, above = (0.0, measured(0.0)), (1.0, measured(1.0))  # fractions of the noise, with their padding
        if above[1] <= below[1]:
            return self
        # Where even sorting pads more than was asked for, some randomness is kept.
        noise = float(np.clip(_between(below, above, padding), 0.5, 2.0))
        if below[1] < padding:
            for _ in range(CALIBRATIONS):
                point = (noise, measured(noise))
                if abs(point[1] - padding) <= CLOSE * padding:
                    break
                below, above = (point, above) if point[1] < padding else (below, point)
                if above[1] <= below[1]:  # all that more noise adds
                    break
                noise = float(np.clip(_between(below, above, padding), 0.0, 2.0))
        return replace(self, noise=noise * self.noise)


def _between(below: tuple[float, float], above: tuple[float, float], value: float) -> float:
    """Where the line through two points (x, y) has a value."""
    return below[0] + (value - below[1]) * (above[0] - below[0]) / (above[1] - below[1])
