"""Static int8 quantization after training (PT2E), as XNNPACK computes with it."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from tqdm import tqdm

from sextant.errors import InputError
from sextant.export.formats.program import program_of
from sextant.export.graph import ExportGraph
from sextant.export.real_inputs import Inputs, real_inputs

LIBRARIES = ("executorch", "torchao")
ENOUGH = 128  # training samples


def calibration_inputs(graph: ExportGraph, batches: Iterable[dict[str, Any]], wanted: int | None) -> list[Inputs]:
    """Collect training samples to calibrate on.

    Args:
        graph: says what the network takes.
        batches: of the training data, ready for the model.
        wanted: samples; None for 128.

    Raises:
        InputError: there are fewer than 128, and nobody said that so few will do.
    """
    found = real_inputs(graph, batches, wanted or ENOUGH)
    count = sum(len(inputs[0]) for inputs in found)
    if wanted is None and count < ENOUGH:
        raise InputError(
            f"The training data has {count} samples to calibrate on, and {ENOUGH} are needed for ranges that hold. "
            f"Give more data, or accept so few with --calibration_samples={count}."
        )
    if count < ENOUGH:
        rank_zero_warn(f"Calibrated on {count} samples only; {ENOUGH} or more give ranges that hold.")
    return found


def quantize(graph: ExportGraph, examples: Sequence[Inputs], progress: bool) -> ExportGraph:
    """Make the weights and the numbers between layers 8-bit integers, with a scale for each channel of a weight.

    Args:
        graph: holds a network of floats.
        examples: inputs; the ranges of the numbers between layers are those that occur for them.
        progress: show a bar.

    Returns:
        The same with a network that computes in integers and gives floats.
    """
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        observed = prepare_pt2e(program_of(graph).module(), quantizer)
        with torch.no_grad():
            for inputs in tqdm(examples, "Calibrating", disable=not progress):
                observed(*inputs)
        network = convert_pt2e(observed)
    _drop_unused(network)
    return replace(graph, network=network)


def _drop_unused(network: torch.fx.GraphModule) -> None:
    """Remove the weights that integers took the place of; a saved program would hold them still."""
    used = {str(node.target) for node in network.graph.nodes if node.op == "get_attr"}
    for name, _ in [*network.named_parameters(), *network.named_buffers()]:
        if name not in used:
            owner, _, last = name.rpartition(".")
            delattr(network.get_submodule(owner), last)
