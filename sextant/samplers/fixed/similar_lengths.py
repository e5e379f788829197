"""Batches of equal size whose samples have similar lengths, so that little of them is padding."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import Unpack, override

from sextant.samplers.checks import check_padding, checked_lengths
from sextant.samplers.fixed.position import Position
from sextant.samplers.fixed.shuffled import ShuffledBatches
from sextant.samplers.length_order import LengthOrder


class SimilarLengthBatches(ShuffledBatches):
    """Global batches of samples of similar lengths, each split over the ranks.

    They are :class:`ShuffledBatches` along an order in which neighbors have similar lengths (see
    :class:`~sextant.samplers.length_order.LengthOrder`): as random as a fraction of padding allows, in batches that
    come in random order. The batches are the same for any number of ranks, which
    :class:`~sextant.samplers.dynamic.DynamicBatchSampler` cannot promise, since its budget is that of a rank.

    Args:
        lengths: of the samples, (N,), above 0, in any unit.
        batch_size: largest number of samples in a batch, over all ranks.
        padding: the fraction of padding to aim at, in [0, 1).
        shuffle: whether each epoch has a new order; without it the samples are sorted by length.
        setting: what sets ``batch_size``, for messages.
        position: where to begin (see :class:`~sextant.samplers.fixed.position.Position`).

    Raises:
        InputError: as :class:`ShuffledBatches`, or ``padding`` or a length is out of its range.
    """

    def __init__(
        self,
        lengths: ArrayLike,
        batch_size: int,
        *,
        padding: float,
        shuffle: bool,
        setting: str = "data.batch_size",
        **position: Unpack[Position],
    ) -> None:
        check_padding(padding, None)
        one_kind = checked_lengths(lengths)[:, 0]
        super().__init__(len(one_kind), batch_size, shuffle=shuffle, setting=setting, **position)
        longest_batch = float(batch_size * one_kind.max())  # the budget, so that only the count limits a batch
        order = LengthOrder.with_padding(one_kind, longest_batch, padding)
        if padding:
            order = order.calibrated(
                one_kind, longest_batch, batch_size, padding, lambda: np.random.default_rng(self.seed)
            )
        self._order = order

    @override
    def whole_batches(self) -> list[NDArray[np.int64]]:
        generator = np.random.default_rng([self.seed, self.epoch])
        batches = np.array_split(self._order.draw(generator, float(self.shuffle)), self.batches)
        return [batches[i] for i in generator.permutation(len(batches))] if self.shuffle else batches
