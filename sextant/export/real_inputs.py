"""Real samples as an exported file takes them."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch.nn.functional as F
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from sextant.errors import InputError
from sextant.export.graph import BATCH, Axis, ExportGraph

Inputs = tuple[Tensor, ...]


def real_inputs(graph: ExportGraph, batches: Iterable[dict[str, Any]], wanted: int) -> list[Inputs]:
    """Collect samples.

    Args:
        graph: says what the network takes.
        batches: of the DataModule, ready for the model.
        wanted: samples.

    Returns:
        Batches of ``wanted`` samples together, or of fewer if there are no more; each of one sample if the network
        takes one at a time. Samples for which it has no room are left out, with a warning.

    Raises:
        InputError: there is none that fits.
    """
    found: list[Inputs] = []
    count = left_out = 0
    for inputs in _split(graph, map(graph.inputs_of, batches)):
        if not _fits(graph, inputs):
            left_out += len(inputs[0])
            continue
        found.append(tuple(x[: wanted - count] for x in _padded(graph, inputs)))
        count += len(found[-1][0])
        if count == wanted:
            break
    if not found and not left_out:
        raise InputError("There is no sample in the data to run the file on.")
    if not found:
        room = sorted(
            f"{axis.low} {f'to {axis.limit}' if axis.limit else 'or more'} {axis.name}"
            for axis in graph.axes.values()
            if axis is not BATCH
        )
        raise InputError(f"None of {left_out} samples fits into the file, which has room for {', '.join(room)}.")
    if left_out:
        rank_zero_warn(f"{left_out} samples do not fit into the file's dimensions, and are not run.")
    return found


def _split(graph: ExportGraph, batches: Iterator[Inputs]) -> Iterator[Inputs]:
    for inputs in batches:
        if isinstance(graph.inputs[0].shape[0], Axis):
            yield inputs
        else:
            yield from (tuple(x[i : i + 1] for x in inputs) for i in range(len(inputs[0])))


def _sizes(graph: ExportGraph, inputs: Inputs) -> Iterator[tuple[Axis, int]]:
    """The free axes of all inputs with the sizes that these have there."""
    for graph_input, x in zip(graph.inputs, inputs, strict=True):
        pairs = zip(graph_input.shape, x.shape, strict=True)
        yield from ((axis, size) for axis, size in pairs if isinstance(axis, Axis))


def _fits(graph: ExportGraph, inputs: Inputs) -> bool:
    return all(axis.low <= size <= (axis.limit or size) for axis, size in _sizes(graph, inputs))


def _padded(graph: ExportGraph, inputs: Inputs) -> Inputs:
    """Zeros at the end of axes that must be multiples of something."""
    padded = []
    for graph_input, x in zip(graph.inputs, inputs, strict=True):
        pads: list[int] = []  # before and after, from the last dimension to the first
        for axis, size in zip(graph_input.shape[::-1], x.shape[::-1], strict=True):
            pads += [0, -size % axis.multiple if isinstance(axis, Axis) else 0]
        padded.append(F.pad(x, pads))
    return tuple(padded)
