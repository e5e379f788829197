"""The position in an epoch of global batches, as every sampler of batches of a size keeps it."""

from collections.abc import Sequence
from typing import TypeVar

from torch.utils.data import Sampler

T = TypeVar("T", covariant=True)


class EpochOfBatches(Sampler[T]):
    """An epoch of global batches that can be started at any of them.

    Args:
        batches: of a whole epoch.
        seed: seed of the order.
        rank: the rank whose part of each batch to give.
        world_size: number of ranks.
        epoch: the epoch to start with.
        done: the steps of that epoch to leave out, because they were done before a restart: pairs of their number and
            of how many ranks did them, in order.
    """

    def __init__(
        self, batches: int, seed: int, rank: int, world_size: int, epoch: int, done: Sequence[tuple[int, int]]
    ) -> None:
        self.batches = batches
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = epoch
        self.done = sum(steps for steps, _ in done)

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch; in the epoch it is in already, it stays where it is. Lightning calls this."""
        if epoch != self.epoch:
            self.epoch = epoch
            self.done = 0

    def __len__(self) -> int:
        """The batches of a whole epoch, also where some of them are done already."""
        return self.batches

    @property
    def remaining(self) -> int:
        """The batches of the present epoch that are to be given."""
        return self.batches - self.done
