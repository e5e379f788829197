"""torch.export's own files, which Python, C++ and AOTInductor load."""

from pathlib import Path

import torch

from export.formats.format import Runner
from export.formats.program import program_of
from modules.export_graph import ExportGraph, in_order


class TorchExport:
    """A program of ATen operations with its weights."""

    suffix = ".pt2"
    libraries: tuple[str, ...] = ()
    planned = False
    quantizable = True

    def write(self, graph: ExportGraph, path: Path) -> None:
        """Trace a network and save the program."""
        torch.export.save(program_of(graph), path)

    def load(self, path: Path) -> Runner:
        """Load a program."""
        module = torch.export.load(path).module()
        return lambda inputs: in_order(module(*inputs))
