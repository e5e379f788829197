"""What a DataModule's loaders are made of: samplers and streams that begin at a position, and the loader itself."""

import time
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from typing_extensions import override

from sextant.errors import InputError


class ResumableSampler(Protocol):
    """Gives the batches of an epoch to one rank, from a position on."""

    @property
    def remaining(self) -> int:
        """The steps of the present epoch that are to be given."""

    def __iter__(self) -> Iterator[list[int] | NDArray[np.int64] | tuple[int, list[int]]]: ...

    def __len__(self) -> int:
        """The steps of a whole epoch."""


class ResumableStream(Protocol):
    """Gives the batches of an epoch to one rank, from a position on; how many they are is known at the end only."""

    def __iter__(self) -> Iterator[Any]: ...

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch."""


class TimedDataLoader(DataLoader[Any]):
    """A DataLoader that adds up the seconds for which the training loop waited for it, in ``waited``.

    Raises:
        InputError: as a worker raised it, without the traceback that torch puts before the message.
    """

    waited: float = 0.0

    @override
    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        batches = super().__iter__()
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
