"""torch.export's own files, which Python, C++ and AOTInductor load."""

import io
from pathlib import Path

import torch

from sextant.export.formats.format import Runner
from sextant.export.formats.program import program_of
from sextant.export.graph import ExportGraph, in_order


class TorchExport:
    """A program of ATen operations with its weights."""

    suffix = ".pt2"
    libraries: tuple[str, ...] = ()
    planned = False
    quantizable = True

    def write(self, graph: ExportGraph, path: Path) -> None:
        """Trace a network and save the program."""
        buffer = io.BytesIO()  # torch's own writer ends the process where a disk is full
        torch.export.save(program_of(graph), buffer)
        path.write_bytes(buffer.getbuffer())

    def load(self, path: Path) -> Runner:
        """Load a program."""
        module = torch.export.load(path).module()
        return lambda inputs: in_order(module(*inputs))
