"""Collation of examples of different lengths into one padded batch."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import default_collate

from sextant.errors import InputError


class Padded(NamedTuple):
    """Examples padded on the right to the longest of them.

    Attributes:
        data: (B, T, ...), zeros after the end of an example.
        lengths: int64 (B,), in steps of ``T``.
    """

    data: Tensor
    lengths: Tensor

    @property
    def relative(self) -> Tensor:
        """The lengths as fractions of ``T``, float (B,), as SpeechBrain's ``PaddedBatch`` has them."""
        return self.lengths / self.data.shape[1]

    @property
    def mask(self) -> Tensor:
        """True where there is data, bool (B, T)."""
        return torch.arange(self.data.shape[1], device=self.data.device) < self.lengths[:, None]


def pad_right(examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A batch of examples, as the ``collate_fn`` of a ``DataLoader``.

    Args:
        examples: dictionaries with the same keys. Tensors with a first dimension are padded along it; everything else
            is put together as torch's ``default_collate`` does, texts as a list.

    Returns:
        For each key a :class:`Padded`, a tensor (B,) or a list.

    Raises:
        InputError: the examples have different keys, or tensors that differ in more than their first dimension.
    """
    batch: dict[str, Any] = {}
    for key in examples[0]:
        try:
            values = [example[key] for example in examples]
        except KeyError:
            raise InputError(f"Some examples of a batch have no {key!r}; all must have the same keys.") from None
        if not (isinstance(values[0], Tensor) and values[0].ndim):
            batch[key] = default_collate(values)
            continue
        if len({(value.shape[1:], value.dtype) for value in values}) > 1:
            shapes = ", ".join(sorted({f"{tuple(value.shape)} {value.dtype}" for value in values}))
            raise InputError(
                f"{key!r} of a batch's examples can differ in the first dimension only, but they are {shapes}."
            )
        lengths = torch.tensor([len(value) for value in values])
        batch[key] = Padded(pad_sequence(values, batch_first=True), lengths)
    return batch
