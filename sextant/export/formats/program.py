"""A network as one graph of operations, which several formats are written from."""

from typing import Any

import torch
from torch.export import Dim, ExportedProgram

from sextant.export.graph import Axis, ExportGraph


def program_of(graph: ExportGraph) -> ExportedProgram:
    """Trace a network with its free axes."""
    examples = tuple(graph_input.example() for graph_input in graph.inputs)
    return torch.export.export(graph.network, examples, dynamic_shapes=free_axes(graph))


def free_axes(graph: ExportGraph) -> tuple[dict[int, Any], ...]:
    """For each input its dimensions whose size may vary."""
    dims = {name: _dim(axis) for name, axis in graph.axes.items()}
    return tuple(
        {place: dims[axis.name] for place, axis in enumerate(graph_input.shape) if isinstance(axis, Axis)}
        for graph_input in graph.inputs
    )


def _dim(axis: Axis) -> Any:
    if axis.multiple == 1:
        return Dim(axis.name, min=axis.low, max=axis.limit)
    most = None if axis.limit is None else axis.limit // axis.multiple
    return axis.multiple * Dim(f"{axis.name}_by_{axis.multiple}", min=-(-axis.low // axis.multiple), max=most)
