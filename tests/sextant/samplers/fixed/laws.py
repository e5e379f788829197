"""What holds for every sampler whose batches are those of all ranks together."""

from collections.abc import Callable, Iterable


def assert_ranks_share_the_batches_of_one(
    sampler: Callable[[int | None], Iterable[list[int]]], world_size: int, start: int = 0
) -> None:
    """Each rank takes every ``world_size``-th sample of each batch of one process, and none is without one.

    Args:
        sampler: gives the batches of a rank, or for None those of one process, from the start of the epoch.
        world_size: number of ranks.
        start: the batch of one process with which the ranks begin.
    """
    whole = list(sampler(None))[start:]
    parts = [list(sampler(rank)) for rank in range(world_size)]
    assert [len(part) for part in parts] == [len(whole)] * world_size
    for k, batch in enumerate(whole):
        assert sorted(i for part in parts for i in part[k]) == sorted(batch)
        for rank, part in enumerate(parts):
            assert part[k] == batch[rank::world_size]
            assert part[k], "a rank has nothing to do"
