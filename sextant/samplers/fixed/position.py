"""The position in an epoch of global batches, as every sampler of batches of a size keeps it."""

from collections.abc import Sequence
from typing import TypedDict, TypeVar

from torch.utils.data import Sampler
from typing_extensions import Unpack

T = TypeVar("T", covariant=True)


class Position(TypedDict, total=False):
    """Where in the order of an epoch a rank begins.

    Attributes:
        seed: seed of the order; 0 if it is not given.
        rank: the rank whose part of each batch to give; 0 if it is not given.
        world_size: number of ranks; 1 if it is not given.
        epoch: the epoch to start with; 0 if it is not given.
        done: the steps of that epoch to leave out, because they were done before a restart: pairs of their number and
            of how many ranks did them, in order.
    """

    seed: int
    rank: int
    world_size: int
    epoch: int
    done: Sequence[tuple[int, int]]


class EpochOfBatches(Sampler[T]):
    """An epoch of global batches that can be started at any of them.

    Args:
        batches: of a whole epoch.
        position: where to begin (see :class:`Position`).
    """

    def __init__(self, batches: int, **position: Unpack[Position]) -> None:
        self.batches = batches
        self.seed = position.get("seed", 0)
        self.rank = position.get("rank", 0)
        self.world_size = position.get("world_size", 1)
        self.epoch = position.get("epoch", 0)
        self.done = sum(steps for steps, _ in position.get("done", ()))

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
