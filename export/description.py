"""What is known of an exported file, for those who use it."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from modules.export_graph import Axis, ExportGraph


def describe(graph: ExportGraph, outputs: Sequence[Tensor]) -> dict[str, Any]:
    """Names, types and shapes of inputs and outputs; a dimension that may vary is given by its name.

    Args:
        graph: what the file holds.
        outputs: of a run. Where an input may vary, their shapes are given as those of an example.
    """
    inputs = [
        {
            "name": graph_input.name,
            "dtype": str(graph_input.dtype).removeprefix("torch."),
            "shape": [axis.name if isinstance(axis, Axis) else axis for axis in graph_input.shape],
        }
        for graph_input in graph.inputs
    ]
    free = any(isinstance(axis, Axis) for graph_input in graph.inputs for axis in graph_input.shape)
    shape = "example_shape" if free else "shape"
    given = [
        {"name": name, "dtype": str(output.dtype).removeprefix("torch."), shape: list(output.shape)}
        for name, output in zip(graph.outputs, outputs, strict=True)
    ]
    return {"inputs": inputs, "outputs": given, "classes": list(graph.names)} | graph.details


def summary(measured: dict[str, float], file_bytes: int) -> str:
    """What was measured, for a person."""
    of_eager = measured["exported_milliseconds"] / measured["eager_milliseconds"]
    lines = [
        f"size: {file_bytes / 1e6:,.1f} MB",
        f"time for one sample: {measured['exported_milliseconds']:.1f} ms, {of_eager:.2f} of PyTorch's "
        f"{measured['eager_milliseconds']:.1f} ms on this machine",
        f"largest difference: {measured['largest_difference']:.2g}",
        f"equal decisions: {measured['agreement']:.3%} of {measured['decisions']:,} of {measured['samples']:,} samples",
        *(f"{name}: {value:.4f}" for name, value in measured.items() if name.startswith("val/")),
    ]
    return "\n".join(lines)
