"""What the processes of a run agree on between two steps."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, distributed


class Consensus:
    """The largest of what the processes say, known one call later, so that none waits for the others in between.

    All processes make it, and call it, in step. It has a group of its own, on the processors, so that it neither
    waits for the work that is queued on a GPU nor gets in its way.

    Args:
        world_size: number of processes; one agrees with itself at once.
    """

    def __init__(self, world_size: int) -> None:
        self._group: Any = distributed.new_group(backend="gloo") if world_size > 1 else None
        self._pending: tuple[distributed.Work, Tensor] | None = None

    def __call__(self, values: Sequence[int]) -> list[int]:
        """Say something, and hear what was said before.

        Args:
            values: of this process, 0 or more; as many in each call.

        Returns:
            The largest of each over all processes, as they were said in the call before; zeros in the first call.
        """
        if self._group is None:
            return list(values)
        agreed = self.finish() or [0] * len(values)
        said = torch.tensor(values)
        work = distributed.all_reduce(said, distributed.ReduceOp.MAX, self._group, async_op=True)
        assert work is not None
        self._pending = work, said
        return agreed

    def finish(self) -> list[int]:
        """Wait for what was said last, before the processes part; empty if nothing was."""
        if self._pending is None:
            return []
        (work, said), self._pending = self._pending, None
        work.wait()
        return [int(value) for value in said]
