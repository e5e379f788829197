"""Batches of token ids with the tokens that follow them, taken from a stream in three ways."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from sextant.errors import InputError

IGNORED = -100  # target of a position that is not predicted; what torch's losses leave out


class Windows(Dataset):
    """For positions in a stream, the windows that begin there.

    Item: ``input`` and ``target`` int64 (B, length), the target being the token after each; ``index`` int64 (B,), the
    positions.

    Args:
        stream: int32 (tokens,).
        length: tokens in a window.
    """

    def __init__(self, stream: np.ndarray, length: int) -> None:
        self.stream = stream
        self.length = length

    def __len__(self) -> int:
        return len(self.stream)

    def start(self, index: int) -> int:
        """The position in the stream at which a sample begins."""
        return index

    @override
    def __getitem__(self, positions: Sequence[int]) -> dict[str, Tensor]:
        index = np.asarray(positions, np.int64)
        tokens = torch.from_numpy(self.stream[index[:, None] + np.arange(self.length + 1)].astype(np.int64))
        return {"input": tokens[:, :-1], "target": tokens[:, 1:], "index": torch.from_numpy(index)}


class Columns(Dataset):
    """A stream divided into columns that are read side by side, ``length`` tokens at a time.

    This is the batching of PyTorch's word-language-model example: the tokens after the last whole column are left out,
    and the last step of an epoch is shorter if ``length`` does not divide the columns. Index ``i`` is column
    ``i % columns`` at step ``i // columns``, so that batches of ``columns`` indices in plain order are the example's.

    Item: as :class:`Windows` has it; all indices of a batch must be of one step.

    Args:
        stream: int32 (tokens,).
        columns: how many; the batch size.
        length: tokens in a step (``bptt`` in the example).
    """

    def __init__(self, stream: np.ndarray, columns: int, length: int) -> None:
        rows = len(stream) // columns
        self.columns = stream[: rows * columns].reshape(columns, rows)
        self.length = length

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return -(-(self.columns.shape[1] - 1) // self.length)

    def __len__(self) -> int:
        return len(self.columns) * self.steps

    def start(self, index: int) -> int:
        """The position in the stream at which a sample begins."""
        step, column = divmod(index, len(self.columns))
        return column * self.columns.shape[1] + step * self.length

    @override
    def __getitem__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        index = np.asarray(indices, np.int64)
        steps, columns = np.divmod(index, len(self.columns))
        start = int(steps[0]) * self.length
        stop = min(start + self.length, self.columns.shape[1] - 1)
        tokens = torch.from_numpy(self.columns[columns, start : stop + 1].astype(np.int64))
        return {"input": tokens[:, :-1], "target": tokens[:, 1:], "index": torch.from_numpy(index)}


class SlidingWindows(Dataset):
    """Windows for evaluation, in which each token of a stream but the first is predicted once.

    Window ``i`` begins ``i * stride`` tokens into the stream. The first one predicts all its tokens, any later one its
    last ``stride``, which so have at least ``length - stride`` tokens of context. Positions that do not count have the
    target -100; so have those beyond the end of the stream, which pad the last window.

    Item: ``input`` and ``target`` int64 (B, length), ``index`` int64 (B,), the numbers of the windows.

    Args:
        stream: int32 (tokens,), at least two.
        length: tokens in a window.
        stride: tokens from the start of one window to that of the next, at most ``length``.
    """

    def __init__(self, stream: np.ndarray, length: int, stride: int) -> None:
        self.stream = stream
        self.length = length
        self.stride = stride

    def __len__(self) -> int:
        return 1 + -(-max(0, len(self.stream) - 1 - self.length) // self.stride)

    def start(self, index: int) -> int:
        """The position in the stream at which a sample begins."""
        return index * self.stride

    @override
    def __getitem__(self, windows: Sequence[int]) -> dict[str, Tensor]:
        index = np.asarray(windows, np.int64)
        positions = index[:, None] * self.stride + np.arange(self.length + 1)
        inside = positions < len(self.stream)
        tokens = torch.from_numpy(self.stream[np.where(inside, positions, 0)].astype(np.int64))
        counts = inside[:, 1:] & ((index[:, None] == 0) | (np.arange(self.length) >= self.length - self.stride))
        target = tokens[:, 1:].masked_fill(torch.from_numpy(~counts), IGNORED)
        return {"input": tokens[:, :-1], "target": target, "index": torch.from_numpy(index)}


@dataclass(frozen=True)
class Evaluation:
    """The windows in which text is evaluated.

    Args:
        length: tokens in a window.
        stride: tokens from the start of one window to that of the next; ``length`` if not given.
        batch_size: windows per step over all processes.
    """

    length: int = 128
    stride: int | None = None
    batch_size: int = 32

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InputError: a value is out of its range.
        """
        for key, value in (("length", self.length), ("batch_size", self.batch_size)):
            if value < 1:
                raise InputError(f"data.evaluation.{key} is {value}; it must be 1 or more.")
        if self.stride is not None and not 1 <= self.stride <= self.length:
            raise InputError(
                f"data.evaluation.stride is {self.stride}; it must be between 1 and data.evaluation.length "
                f"({self.length}), or tokens would be left out."
            )

    def windows(self, stream: np.ndarray) -> SlidingWindows:
        """The windows of a stream, int32 (tokens,)."""
        return SlidingWindows(stream, self.length, self.length if self.stride is None else self.stride)
