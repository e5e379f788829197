"""Batches with as many rows on every rank, as models need whose ranks exchange what belongs to rows."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Unpack

from sextant.errors import InputError
from sextant.samplers.fixed.keyed_permutation import KeyedPermutation
from sextant.samplers.fixed.position import EpochOfBatches, Position

AHEAD = 2**17  # places of the order that are computed at a time


class EvenBatches(EpochOfBatches[NDArray[np.int64]]):
    """Global batches of the rows of an epoch, each split evenly over the ranks.

    The order is a pure function of ``(seed, epoch)`` and takes no memory, however many rows there are (see
    :class:`~sextant.samplers.fixed.keyed_permutation.KeyedPermutation`). Rank ``r`` takes every ``world_size``-th row
    of each batch from the ``r``-th on: the batches of all ranks together are those of one process.

    All batches have ``batch_size`` rows but for what is left at the end of the epoch, fewer rows than a batch:

    - ``drop`` leaves them out; when shuffled they are others in each epoch.
    - ``pad`` makes one more batch of them. Where it does not divide by ``world_size``, it is padded with its last row,
      which is then given as ``~i``, the bitwise complement of its number ``i`` and so below 0: every row comes
      as itself exactly once.

    Use it as the ``sampler`` of a :class:`~torch.utils.data.DataLoader` with ``batch_size=None``: the dataset is then
    asked for a whole batch at once, by an int64 array.

    Args:
        size: number of rows.
        batch_size: rows in a batch, over all ranks.
        shuffle: whether each epoch has a new order; without it the order is 0, 1, 2, ...
        last_batch: what is done about the rows that make up no whole batch.
        setting: what sets ``batch_size``, for messages.
        position: where to begin (see :class:`~sextant.samplers.fixed.position.Position`).

    Raises:
        InputError: ``batch_size`` is below 1 or does not divide by ``world_size``, or there is not one batch.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        shuffle: bool,
        last_batch: Literal["drop", "pad"],
        setting: str = "data.batch_size",
        **position: Unpack[Position],
    ) -> None:
        world_size = position.get("world_size", 1)
        if batch_size < 1:
            raise InputError(f"{setting} is {batch_size}; it must be 1 or more.")
        if batch_size % world_size:
            near = max(batch_size // world_size, 1) * world_size
            raise InputError(
                f"{setting} is {batch_size}, which cannot be split evenly over {world_size} processes. {setting} "
                f"counts the rows of all processes: make it a multiple of {world_size}, such as {near}."
            )
        if size < 1:
            raise InputError("There are no rows to make batches of.")
        if last_batch == "drop" and size < batch_size:
            raise InputError(
                f"{size:,} training rows do not fill one batch of {batch_size:,}. Lower {setting}, or give more rows."
            )
        batches = size // batch_size if last_batch == "drop" else -(-size // batch_size)
        super().__init__(batches, **position)
        self.size = size
        self.batch_size = batch_size
        self.shuffle = shuffle

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        # The batches may be asked for before set_epoch and more than once, so a position is read, never consumed.
        order = KeyedPermutation(self.size, [self.seed, self.epoch]) if self.shuffle else None
        ahead = max(1, AHEAD * self.world_size // self.batch_size)
        for first in range(self.done, self.batches, ahead):
            steps = np.arange(first, min(first + ahead, self.batches))
            places = steps[:, None] * self.batch_size + np.arange(self.rank, self.batch_size, self.world_size)
            beyond = places >= self.size
            rows = np.minimum(places, self.size - 1)
            if order is not None:
                rows = order[rows]
            rows[beyond] = ~rows[beyond]
            for step, batch in zip(steps, rows, strict=True):
                here = min(self.batch_size, self.size - int(step) * self.batch_size)
                yield batch[: -(-here // self.world_size)]
