"""What is known of an exported file, for those who use it."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from sextant.export.comparison import Comparison
from sextant.export.graph import Axis, ExportGraph


def describe(graph: ExportGraph, outputs: Sequence[Tensor]) -> dict[str, Any]:
    """What a file takes and gives.

    Args:
        graph: what the file holds.
        outputs: of a run. Where an input may vary, their shapes are given as those of an example.

    Returns:
        Plain values: ``inputs`` and ``outputs`` with names, types and shapes, in which a dimension that may vary has a
        name; the ranges of these as ``axes``; ``classes``, the names of what is decided on; and the graph's details.
    """
    inputs = [
        {
            "name": graph_input.name,
            "dtype": _name(graph_input.dtype),
            "shape": [axis.name if isinstance(axis, Axis) else axis for axis in graph_input.shape],
            "about": graph.about.get(graph_input.name, ""),
        }
        for graph_input in graph.inputs
    ]
    given = [
        {
            "name": name,
            "dtype": _name(output.dtype),
            "example_shape" if graph.axes else "shape": list(output.shape),
            "about": graph.about.get(name, ""),
        }
        for name, output in zip(graph.outputs, outputs, strict=True)
    ]
    ranges = {name: {"min": a.low, "max": a.limit, "multiple_of": a.multiple} for name, a in graph.axes.items()}
    return {"inputs": inputs, "outputs": given, "axes": ranges, "classes": list(graph.names)} | graph.details


def versions(libraries: Sequence[str]) -> dict[str, str]:
    """The versions of torch and of libraries."""
    return {name: version(name) for name in ("torch", *libraries)}


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def summary(comparison: Comparison, metrics: Mapping[str, float], file_bytes: int) -> str:
    """What was measured, for a person."""
    of_eager = comparison.exported_milliseconds / comparison.eager_milliseconds
    lines = [
        f"size: {file_bytes / 1e6:,.1f} MB",
        f"time for one sample: {comparison.exported_milliseconds:.1f} ms, {of_eager:.2f} of PyTorch's "
        f"{comparison.eager_milliseconds:.1f} ms on this machine",
        f"largest difference: {comparison.largest_difference:.2g}",
        f"equal decisions: {comparison.agreement:.3%} of {comparison.decisions:,} of {comparison.samples:,} samples",
        *(f"{name}: {value:.4f}" for name, value in metrics.items()),
    ]
    return "\n".join(lines)
