"""Dynamic batches by SpeechBrain's arguments, in place of its ``DynamicBatchSampler``."""

from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from sextant.errors import InputError
from sextant.samplers.dynamic import DynamicBatchSampler, read_lengths


@runtime_checkable
class Annotated(Protocol):
    """A dataset whose annotations can be read without its examples, as SpeechBrain's ``DynamicItemDataset``."""

    data: Mapping[str, Any]
    data_ids: Sequence[str]


def duration(annotation: Mapping[str, Any]) -> float:
    """The ``duration`` of an example, as annotations of SpeechBrain's recipes have it.

    Raises:
        InputError: it has none.
    """
    try:
        return float(annotation["duration"])
    except (KeyError, TypeError, IndexError):
        raise InputError(
            f"This example has no 'duration': {annotation!r:.200}. Give length_func, or the lengths as lengths_list."
        ) from None


class SpeechBrainBatchSampler(DynamicBatchSampler):
    """Dynamic batches with the arguments of SpeechBrain's ``DynamicBatchSampler``, in its order, with its defaults.

    ``num_buckets`` makes the same buckets as there: quantiles of a log-normal distribution, stretched so that the last
    one is the budget. What differs is how they are filled: a batch takes as many examples as the budget allows for the
    longest of them, not for the upper edge of the bucket. So one bucket is fully random, and there are no more batches
    than SpeechBrain makes, but for the few that give every epoch the same number. Nothing is dropped for
    ``drop_last`` but what does not divide by the ranks. The signature is that of SpeechBrain 1.1,
    ``speechbrain/dataio/sampler.py``; the two last arguments are ours.

    Args:
        dataset: gives an example for an index; of an annotated one, the annotations are read alone.
        max_batch_length: the most that the number of examples times the longest length may be in a batch.
        num_buckets: number of buckets: few for randomness, many for little padding.
        length_func: gives the length of an example, or of its annotation.
        shuffle: whether each epoch has a new order.
        batch_ordering: of the batches of an epoch: ``random``, or by the longest example, ``ascending`` or
            ``descending``.
        max_batch_ex: the most examples in a batch.
        bucket_boundaries: upper edges of buckets, ascending, in place of ``num_buckets``.
        lengths_list: the lengths, in place of ``length_func``.
        seed: seed of the order.
        epoch: the epoch to start with.
        drop_last: where the batches do not divide by ``world_size``, leave out the smallest ones that are over.
        verbose: print what the batches are like.
        rank: the rank whose batches to give; no wrapper is needed for several.
        world_size: number of ranks.

    Raises:
        InputError: an argument makes no sense, or a length is zero, negative or no number.

    Warns:
        UserWarning: examples are longer than the budget; each is a batch of its own.
    """

    def __init__(
        self,
        dataset: Sequence[Any],
        max_batch_length: float,
        num_buckets: int | None = None,
        length_func: Callable[[Any], float] = duration,
        shuffle: bool = True,
        batch_ordering: Literal["random", "ascending", "descending"] = "random",
        max_batch_ex: int | None = None,
        bucket_boundaries: Sequence[float] = (),
        lengths_list: ArrayLike | None = None,
        seed: int = 42,
        epoch: int = 0,
        drop_last: bool = False,
        verbose: bool = False,
        *,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if num_buckets is None and not len(bucket_boundaries):
            raise InputError("Give num_buckets or bucket_boundaries: they say how like the lengths of a batch are.")
        if not len(bucket_boundaries):
            assert num_buckets is not None
            bucket_boundaries = log_normal_boundaries(num_buckets, max_batch_length)
        super().__init__(
            _lengths(dataset, length_func, lengths_list),
            max_batch_length,
            max_batch_ex=max_batch_ex,
            buckets=bucket_boundaries,
            shuffle=shuffle,
            batch_ordering=batch_ordering,
            too_long="warn",
            drop_last=drop_last,
            seed=seed,
            epoch=epoch,
            rank=rank,
            world_size=world_size,
        )
        if verbose and rank == 0:
            print(f"An epoch has {self.describe()}.")


def log_normal_boundaries(num_buckets: int, max_batch_length: float) -> list[float]:
    """The upper edges of buckets where SpeechBrain has them.

    They are the quantiles 1 / (n + 1), ..., n / (n + 1) of a log-normal distribution with a sigma of 1, times what
    makes the last one the budget.

    Args:
        num_buckets: number of buckets, n.
        max_batch_length: the budget.

    Raises:
        InputError: ``num_buckets`` is below 1.
    """
    if num_buckets < 1:
        raise InputError(f"num_buckets is {num_buckets}; it must be 1 or more.")
    normal = NormalDist()
    quantiles = [normal.inv_cdf(i / (num_buckets + 1)) for i in range(1, num_buckets + 1)]
    boundaries: list[float] = (max_batch_length * np.exp(np.array(quantiles) - quantiles[-1])).tolist()
    return boundaries


def _lengths(dataset: Sequence[Any], length_func: Callable[[Any], float], lengths_list: ArrayLike | None) -> ArrayLike:
    if lengths_list is not None:
        lengths = np.asarray(lengths_list)
        if len(lengths) != len(dataset):
            raise InputError(f"lengths_list has {len(lengths)} lengths for {len(dataset)} examples. Give one for each.")
        return lengths
    if isinstance(dataset, Annotated):
        return read_lengths([dataset.data[name] for name in dataset.data_ids], length_func)
    return read_lengths(dataset, length_func)
