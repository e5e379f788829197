"""Dynamic batches of utterances: their settings, in seconds, and the samplers that these make."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np

from sextant.errors import InputError
from sextant.samplers.checks import TooLong
from sextant.samplers.dynamic import DynamicBatchSampler
from sextant.samplers.stream import DynamicBatchStream

T = TypeVar("T")


@dataclass(frozen=True)
class Batching:
    """The size of batches, and how alike the lengths of the utterances in one are.

    Args:
        max_batch_length: seconds of audio in a batch of one process, padding included, at the slowest of
            ``augmentation.speeds``.
        max_batch_ex: the most utterances in a batch.
        padding: the fraction of padding to aim at in training, in [0, 1); 0.03 if neither this nor buckets are given.
            For shards it follows from ``shard_buffer`` instead.
        buckets: instead of padding, a number of buckets of lengths, fitted to the data (1 is fully random), or their
            upper edges in seconds.
        quadratic: seconds at which attention costs as much as everything else; evens the ranks' work out.
        batch_ordering: of the batches of a training epoch.
        too_long: what to do about training utterances beyond the budget: stop (``error``), leave them out with a
            warning (``drop``), make each a batch of its own with a warning (``warn``) or without (``alone``).
        shard_buffer: how many utterances of shards are held to choose those of like length from.
    """

    max_batch_length: float = 200.0
    max_batch_ex: int | None = None
    padding: float | None = None
    buckets: int | Sequence[float] | None = None
    quadratic: float | None = None
    batch_ordering: Literal["random", "ascending", "descending"] = "random"
    too_long: TooLong = "error"
    shard_buffer: int = 2000

    def __post_init__(self) -> None:
        """Check what no sampler checks.

        Raises:
            InputError: a value is out of its range.
        """
        if not self.max_batch_length > 0:
            raise InputError(f"data.batching.max_batch_length is {self.max_batch_length}; it must be above 0.")
        if self.shard_buffer < 1:
            raise InputError(f"data.batching.shard_buffer is {self.shard_buffer}; it must be 1 or more.")

    def require_stream(self) -> None:
        """Refuse what needs the lengths of all utterances, which are not known of shards.

        Raises:
            InputError: such a setting is given.
        """
        for key, default in (("buckets", None), ("batch_ordering", "random")):
            if getattr(self, key) != default:
                raise InputError(
                    f"data.batching.{key} is {getattr(self, key)}; it does not go with data.subsets.shards, whose "
                    "lengths are not known beforehand. Leave it out."
                )

    def sampler(self, seconds: np.ndarray, max_batch_length: float, **options: Any) -> DynamicBatchSampler:
        """The sampler of training utterances.

        Args:
            seconds: their lengths at the slowest speed, float64 (N,).
            max_batch_length: the budget that is used.
            options: further options of the sampler, such as its position.

        Raises:
            InputError: a setting makes no sense, or does not fit the lengths.
        """
        options = {
            "max_batch_ex": self.max_batch_ex,
            "padding": self.padding,
            "buckets": self.buckets,
            "quadratic": self.quadratic,
            "batch_ordering": self.batch_ordering,
            "too_long": self.too_long,
        } | options
        with _named_settings():
            return DynamicBatchSampler(seconds, max_batch_length, **options)

    def stream(
        self,
        examples: Callable[[int], Iterator[T]],
        seconds: Callable[[T], float],
        collate: Callable[[list[T]], Any],
        max_batch_length: float,
        **position: Any,
    ) -> DynamicBatchStream[T]:
        """The batches of training utterances in shards.

        Args:
            examples: gives the utterances of an epoch.
            seconds: gives the length of one at the slowest speed.
            collate: makes a batch.
            max_batch_length: the budget that is used.
            position: of the stream.

        Raises:
            InputError: a setting makes no sense.
        """
        with _named_settings():
            return DynamicBatchStream(
                examples,
                seconds,
                collate,
                max_batch_length,
                buffer=self.shard_buffer,
                max_batch_ex=self.max_batch_ex,
                quadratic=self.quadratic,
                too_long=self.too_long,
                **position,
            )

    def evaluation_sampler(self, seconds: np.ndarray, max_batch_length: float, **position: Any) -> DynamicBatchSampler:
        """The sampler of utterances that are not trained on, sorted by length; those beyond the budget are alone."""
        return DynamicBatchSampler(
            seconds, max_batch_length, max_batch_ex=self.max_batch_ex, shuffle=False, too_long="alone", **position
        )

    def length_range(self, seconds: np.ndarray) -> tuple[float, float]:
        """The least ``max_batch_length`` that every utterance fits into, and the most that is ever filled.

        Args:
            seconds: the lengths at the slowest speed, float64 (N,).
        """
        longest = float(seconds.max())
        if self.quadratic:
            longest += longest**2 / self.quadratic
        return longest, longest * min(len(seconds), self.max_batch_ex or math.inf)

    def largest_batches(self, seconds: np.ndarray, max_batch_length: float) -> list[list[int]]:
        """The training batches that take the most memory.

        They are those with the most seconds times length (attention), seconds, and utterances.

        Args:
            seconds: the lengths at the slowest speed, float64 (N,).
            max_batch_length: the budget.
        """
        batches = list(self.sampler(seconds, max_batch_length, shuffle=False))
        sizes = np.array([len(batch) for batch in batches])
        longest = np.array([seconds[batch].max() for batch in batches])
        largest = dict.fromkeys(int((sizes * longest**power).argmax()) for power in (2, 1, 0))
        return [batches[place] for place in largest]


@contextmanager
def _named_settings() -> Iterator[None]:
    """Say of an error of a sampler where its settings come from."""
    try:
        yield
    except InputError as error:
        raise InputError(
            f"{error} (Settings of data.batching, in seconds at the slowest of data.augmentation.speeds.)"
        ) from None
