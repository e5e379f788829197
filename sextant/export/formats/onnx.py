"""ONNX, for servers and browsers."""

import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor

from sextant.export.formats.format import Runner
from sextant.export.formats.program import free_axes
from sextant.export.graph import ExportGraph

MOST_BYTES = 2**31 - 2**24  # of weights; protobuf's limit is 2 GB, and the graph takes some of it


class Onnx:
    """A graph of ONNX operations, made by torch's exporter on top of torch.export."""

    suffix = ".onnx"
    libraries: tuple[str, ...] = ("onnx", "onnxscript", "onnxruntime")
    planned = False
    quantizable = False

    def write(self, graph: ExportGraph, path: Path) -> None:
        """Trace a network and save it with its weights in one file.

        Raises:
            ValueError: the weights are larger than such a file.
        """
        weights = sum(parameter.nbytes for parameter in graph.network.parameters())
        if weights > MOST_BYTES:
            raise ValueError(f"an ONNX file holds 2 GB, and the weights are {weights / 2**30:.1f} GB")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # opsets and constants of its own making
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                graph.network,
                tuple(graph_input.example() for graph_input in graph.inputs),
                input_names=[graph_input.name for graph_input in graph.inputs],
                output_names=list(graph.outputs),
                dynamic_shapes=free_axes(graph),
                dynamo=True,
                verbose=False,
            )
        assert program is not None
        program.save(path)

    def load(self, path: Path) -> Runner:
        """Load a file into onnxruntime."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # As many threads as PyTorch has, which it is compared with, and none that keep it from working while they wait.
        options.intra_op_num_threads = torch.get_num_threads()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = [graph_input.name for graph_input in session.get_inputs()]

        def run(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            arrays = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
            return tuple(torch.from_numpy(output) for output in session.run(None, arrays))

        return run
