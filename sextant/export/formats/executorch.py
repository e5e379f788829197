"""ExecuTorch, for iOS, Android and other devices: what follows PyTorch Mobile."""

import copy
from dataclasses import replace
from pathlib import Path

import torch

from sextant.export.formats.format import Runner
from sextant.export.formats.program import program_of
from sextant.export.graph import ExportGraph


class ExecuTorch:
    """A program whose memory is planned ahead, with XNNPACK's operations where it has them."""

    suffix = ".pte"
    libraries: tuple[str, ...] = ("executorch",)
    planned = True
    quantizable = True

    def write(self, graph: ExportGraph, path: Path) -> None:
        """Trace a network, hand it to XNNPACK, and save the program."""
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        # XNNPACK's lowering does not take weights with the channels last.
        network = copy.deepcopy(graph.network).to(memory_format=torch.contiguous_format)
        program = program_of(replace(graph, network=network))
        edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        with path.open("wb") as file:
            edge.to_executorch().write_to_file(file)

    def load(self, path: Path) -> Runner:
        """Load a file into ExecuTorch's runtime."""
        from executorch.extension.pybindings.portable_lib import _threadpool_get_thread_count, _unsafe_reset_threadpool
        from executorch.runtime import Runtime

        if _threadpool_get_thread_count() != torch.get_num_threads():  # as PyTorch has them, which it is compared with
            _unsafe_reset_threadpool(torch.get_num_threads())  # nothing runs in it now
        program = Runtime.get().load_program(path)
        method = program.load_method("forward")
        # Outputs lie in the program's own memory, which the next run writes to.
        return lambda inputs: tuple(output.clone() for output in method.execute([x.contiguous() for x in inputs]))
