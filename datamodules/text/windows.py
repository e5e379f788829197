"""Batches of word numbers with the words that follow them, cut from a token stream in three ways."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

IGNORED = -100  # target of a position that is not predicted; what torch's losses leave out


class Windows(Dataset):
    """For positions in a stream, the windows that begin there.

    Item: ``input`` and ``target`` int64 (B, length), the target being the word after each; ``index`` int64 (B,), the
    positions.

    Args:
        stream: int32 (tokens,).
        length: words in a window.
    """

    def __init__(self, stream: np.ndarray, length: int) -> None:
        self.stream = stream
        self.length = length

    def __len__(self) -> int:
        return len(self.stream)

    @override
    def __getitem__(self, positions: Sequence[int]) -> dict[str, Tensor]:
        index = np.asarray(positions, np.int64)
        words = torch.from_numpy(self.stream[index[:, None] + np.arange(self.length + 1)].astype(np.int64))
        return {"input": words[:, :-1], "target": words[:, 1:], "index": torch.from_numpy(index)}


class Columns(Dataset):
    """A stream cut into columns that are read side by side, ``length`` words at a time.

    This is the batching of PyTorch's word-language-model example: the words after the last whole column are left out,
    and the last step of an epoch is shorter if ``length`` does not divide the columns. Index ``i`` is column
    ``i % columns`` at step ``i // columns``, so that batches of ``columns`` indices in plain order are the example's.

    Item: as :class:`Windows` has it; all indices of a batch must be of one step.

    Args:
        stream: int32 (tokens,).
        columns: how many; the batch size.
        length: words in a step (``bptt`` in the example).
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

    @override
    def __getitem__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        index = np.asarray(indices, np.int64)
        steps, columns = np.divmod(index, len(self.columns))
        start = int(steps[0]) * self.length
        stop = min(start + self.length, self.columns.shape[1] - 1)
        words = torch.from_numpy(self.columns[columns, start : stop + 1].astype(np.int64))
        return {"input": words[:, :-1], "target": words[:, 1:], "index": torch.from_numpy(index)}


class SlidingWindows(Dataset):
    """Windows for evaluation, in which each word of a stream but the first is predicted once.

    Window ``i`` begins ``i * stride`` words into the stream. The first one predicts all its words, any later one its
    last ``stride``, which so have at least ``length - stride`` words of context. At the end of the stream windows are
    filled up with targets of -100, as all positions are that do not count.

    Item: ``input`` and ``target`` int64 (B, length), ``index`` int64 (B,), the numbers of the windows.

    Args:
        stream: int32 (tokens,), at least two.
        length: words in a window.
        stride: words from the start of one window to that of the next, at most ``length``.
    """

    def __init__(self, stream: np.ndarray, length: int, stride: int) -> None:
        self.stream = stream
        self.length = length
        self.stride = stride

    def __len__(self) -> int:
        return 1 + -(-max(0, len(self.stream) - 1 - self.length) // self.stride)

    @override
    def __getitem__(self, windows: Sequence[int]) -> dict[str, Tensor]:
        index = np.asarray(windows, np.int64)
        positions = index[:, None] * self.stride + np.arange(self.length + 1)
        inside = positions < len(self.stream)
        words = torch.from_numpy(self.stream[np.where(inside, positions, 0)].astype(np.int64))
        counts = inside[:, 1:] & ((index[:, None] == 0) | (np.arange(self.length) >= self.length - self.stride))
        target = words[:, 1:].masked_fill(torch.from_numpy(~counts), IGNORED)
        return {"input": words[:, :-1], "target": target, "index": torch.from_numpy(index)}
