"""What a DataModule's loaders are made of: samplers and streams that begin at a position, and the loader itself."""

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from typing import Any, Protocol
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, SequentialSampler
from typing_extensions import override

from sextant.errors import InputError
from sextant.signals import NUMBERS


class ResumableSampler(Protocol):
    """Gives the batches of an epoch to one rank, from a position on."""

    @property
    def remaining(self) -> int:
        """The steps of the present epoch that are to be given."""

    def __iter__(self) -> Iterator[list[int] | NDArray[np.int64] | tuple[int, list[int]]]: ...

    def __len__(self) -> int:
        """The steps of a whole epoch."""


class RepeatedEpoch(SequentialSampler):
    """The first epoch of an order again and again, for runs that learn a few batches by heart (``overfit_batches``).

    It is a torch ``SequentialSampler``, because Lightning replaces any other in such a run.

    Args:
        order: makes the sampler from ``epoch``, ``done`` and the rest of a position.
        epoch: that the run is in.
        done: its steps that are done.
        position: the rest.
    """

    def __init__(
        self, order: Callable[..., ResumableSampler], epoch: int, done: Sequence[tuple[int, int]], **position: Any
    ) -> None:
        self._order = order
        self._position = position
        self._epoch = epoch
        self._batches = order(epoch=0, done=done, **position)

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch; in the epoch it is in already, it stays where it is. Lightning calls this."""
        if epoch != self._epoch:
            self._epoch = epoch
            self._batches = self._order(epoch=0, done=(), **self._position)

    @override
    def __iter__(self) -> Iterator[Any]:
        return iter(self._batches)

    @override
    def __len__(self) -> int:
        return len(self._batches)

    @property
    def remaining(self) -> int:
        """The steps of the present epoch that are to be given."""
        return self._batches.remaining


class ResumableStream(Protocol):
    """Gives the batches of an epoch to one rank, from a position on; how many they are is known at the end only."""

    def __iter__(self) -> Iterator[Any]: ...

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch."""


class TimedDataLoader(DataLoader[Any]):
    """A DataLoader that adds up the seconds for which the training loop waited for it, in ``waited``.

    Its workers do not end on signals that are sent to all processes of a job: the run that they work for ends them.

    Raises:
        InputError: as a worker raised it, without the traceback that torch puts before the message.
    """

    waited: float = 0.0

    @override
    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        batches = self._batches()
        while True:
            start = time.perf_counter()
            try:
                batch = next(batches, None)
            except InputError as error:
                raise InputError(str(error).rpartition(f"{InputError.__name__}: ")[2].rstrip()) from None
            self.waited += time.perf_counter() - start
            if batch is None:
                return
            yield batch

    def _batches(self) -> Iterator[Any]:
        before = set(multiprocessing.active_children())
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)  # which workers inherit
        try:
            return super().__iter__()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            if started := set(multiprocessing.active_children()) - before:
                # What atexit has does not run in processes that multiprocessing has started.
                Finalize(None, _end, (WeakSet(started),), exitpriority=0)


def _end(workers: Iterable[BaseProcess]) -> None:
    """End the workers that are left. Python would ask them to end, with a signal, and wait for ever."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch makes an error of the end of a worker
    for worker in workers:
        if worker.is_alive():
            worker.kill()
