"""Batches of equal size in an order that depends on the seed and the epoch alone."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Unpack

from sextant.errors import InputError
from sextant.samplers.fixed.position import EpochOfBatches, Position


class ShuffledBatches(EpochOfBatches[list[int]]):
    """Global batches of the samples of an epoch, each split over the ranks.

    The order is a pure function of ``(seed, epoch)``. An epoch has ``ceil(size / batch_size)`` batches whose
    sizes differ by one at most (as :func:`numpy.array_split` cuts), so no small batch is left for the end and
    nothing is dropped or repeated. Rank ``r`` takes every ``world_size``-th sample of each batch from the
    ``r``-th on: the batches of all ranks together are those of one process. When a batch does not divide by
    ``world_size``, the ranks' parts differ by one sample, and a mean of the ranks' means weighs those
    samples a little differently.

    Use it as the ``sampler`` of a :class:`~torch.utils.data.DataLoader` with ``batch_size=None``: the dataset
    is then asked for a whole batch at once.

    Args:
        size: number of samples.
        batch_size: largest number of samples in a batch, over all ranks.
        shuffle: whether each epoch has a new order; without it the order is 0, 1, 2, ...
        setting: what sets ``batch_size``, for messages.
        position: where to begin (see :class:`~sextant.samplers.fixed.position.Position`).

    Raises:
        InputError: there are no samples, ``batch_size`` is below 1, or some batch would leave a rank empty.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        shuffle: bool,
        setting: str = "data.batch_size",
        **position: Unpack[Position],
    ) -> None:
        world_size = position.get("world_size", 1)
        if batch_size < 1:
            raise InputError(f"{setting} is {batch_size}; it must be 1 or more.")
        if size < 1:
            raise InputError("There are no samples to make batches of.")
        batches = -(-size // batch_size)
        if size < world_size:
            raise InputError(f"{size} samples are too few for {world_size} processes. Use {size} at the most.")
        if size // batches < world_size:
            enough = next(b for b in range(batch_size + 1, size + 1) if size // -(-size // b) >= world_size)
            raise InputError(
                f"{setting} {batch_size} makes batches of {size // batches} of {size} samples, too few "
                f"for {world_size} processes. {setting} counts the samples of all processes: raise it to "
                f"{enough}, or use fewer processes."
            )
        super().__init__(batches, **position)
        self.size = size
        self.shuffle = shuffle

    def order(self) -> NDArray[np.int64]:
        """The samples of the present epoch, int64 (size,), in order."""
        if not self.shuffle:
            return np.arange(self.size)
        return np.random.default_rng([self.seed, self.epoch]).permutation(self.size)

    def whole_batches(self) -> list[NDArray[np.int64]]:
        """The batches of the present epoch, of all ranks together."""
        return np.array_split(self.order(), self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        # The batches may be asked for before set_epoch and more than once, so a position is read, never consumed.
        for batch in self.whole_batches()[self.done :]:
            yield batch[self.rank :: self.world_size].tolist()
