"""What a format of exported files is."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from torch import Tensor

from sextant.export.graph import ExportGraph

#: An exported file that was loaded: inputs by position to outputs by position.
Runner = Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]


class Format(Protocol):
    """Writes a network to a file and loads it again."""

    #: Ending of the files' names.
    suffix: str
    #: Libraries that it needs beside torch, as they are imported.
    libraries: tuple[str, ...]
    #: Whether memory is planned ahead: one sample at a time, images of one size.
    planned: bool
    #: Whether it can hold a quantized network.
    quantizable: bool

    def write(self, graph: ExportGraph, path: Path) -> None:
        """Write a network.

        Raises:
            Exception: of the library's own kind, if the format cannot hold the network.
        """

    def load(self, path: Path) -> Runner:
        """Load a file that :meth:`write` wrote, without the network it was made from."""
