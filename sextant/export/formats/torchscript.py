"""TorchScript, for those who still run LibTorch or PyTorch Mobile."""

import io
import warnings
from pathlib import Path

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn

from sextant.export.formats.format import Runner
from sextant.export.graph import ExportGraph, in_order


class TorchScript:
    """Scripted where TorchScript understands the source of a network, else traced with an example."""

    suffix = ".pt"
    libraries: tuple[str, ...] = ()
    planned = False
    quantizable = False

    def write(self, graph: ExportGraph, path: Path) -> None:
        """Script or trace a network."""
        rank_zero_warn("TorchScript is deprecated in PyTorch: prefer torch_export, or executorch for phones.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what was just said, and tracing's doubts, which the comparison settles
            try:
                script = torch.jit.script(graph.network)
            except Exception as error:  # of many kinds
                reason = next(line for line in str(error).splitlines() if line.strip())
                rank_zero_info(f"TorchScript cannot read the network's source ({reason.strip()}), so it is traced.")
                examples = tuple(graph_input.example() for graph_input in graph.inputs)
                script = torch.jit.trace(graph.network, examples, strict=False, check_trace=False)
            buffer = io.BytesIO()  # torch's own writer ends the process where a disk is full
            torch.jit.save(script, buffer)
        path.write_bytes(buffer.getbuffer())

    def load(self, path: Path) -> Runner:
        """Load a file with LibTorch's loader."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            script = torch.jit.load(str(path))
        return lambda inputs: in_order(script(*inputs))
