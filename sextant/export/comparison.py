"""How far an exported file is from the network it was made from, and how fast."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from tqdm import tqdm

from sextant.errors import InputError
from sextant.export.formats.format import Runner
from sextant.export.graph import ExportGraph, in_order

TIMED = 20  # runs


@dataclass(frozen=True)
class Comparison:
    """What was measured.

    Args:
        samples: real samples that both were run on.
        decisions: decisions that both made.
        agreement: fraction of them that are equal.
        largest_difference: between two numbers of the first outputs.
        eager_milliseconds: median of a run of the network for one sample, in PyTorch on this machine's processor.
        exported_milliseconds: likewise of the exported file.
        threads: that both had.
    """

    samples: int
    decisions: int
    agreement: float
    largest_difference: float
    eager_milliseconds: float
    exported_milliseconds: float
    threads: int


def compare(graph: ExportGraph, exported: Runner, examples: Sequence[tuple[Tensor, ...]], progress: bool) -> Comparison:
    """Run a network and its exported file side by side.

    Args:
        graph: holds the network, in evaluation mode.
        exported: the loaded file.
        examples: inputs, each a batch.
        progress: show a bar.
    """
    equal = decisions = samples = 0
    difference = 0.0
    for inputs in tqdm(examples, "Comparing", disable=not progress):
        wanted, found = eager(graph, inputs), exported(inputs)
        equal_here = graph.decisions(wanted) == graph.decisions(found)
        equal, decisions = equal + int(equal_here.sum()), decisions + len(equal_here)
        difference = max(difference, largest_difference(wanted[0], found[0]))
        samples += len(inputs[0])
    singles = [tuple(x[:1] for x in inputs) for inputs in examples]
    runs: tuple[Runner, Runner] = (partial(eager, graph), exported)
    times: tuple[list[float], list[float]] = ([], [])
    for repetition in range(TIMED):  # side by side, so that both see the same state of the machine
        inputs = singles[repetition % len(singles)]
        for of, run in zip(times, runs, strict=True):
            start = time.perf_counter()
            run(inputs)
            of.append(1000 * (time.perf_counter() - start))
    return Comparison(
        samples=samples,
        decisions=decisions,
        agreement=equal / decisions,
        largest_difference=difference,
        eager_milliseconds=statistics.median(times[0]),
        exported_milliseconds=statistics.median(times[1]),
        threads=torch.get_num_threads(),
    )


def largest_difference(wanted: Tensor, found: Tensor) -> float:
    """Between two numbers in the same place; two equal infinities do not differ.

    Raises:
        InputError: there is a NaN.
    """
    for whose, output in (("The model", wanted), ("The exported file", found)):
        if output.isnan().any():
            raise InputError(f"{whose} gives NaN for a sample of the data, so no file was written.")
    return float(torch.where(wanted == found, 0.0, (wanted.double() - found.double()).abs()).max())


def require_agreement(comparison: Comparison, least: float, advice: str = "") -> None:
    """Refuse a file that decides otherwise.

    Args:
        comparison: what was measured.
        least: fraction of decisions that must be equal.
        advice: what to do about it.

    Raises:
        InputError: fewer are.
    """
    if comparison.agreement < least:
        raise InputError(
            f"The file decides as the model does in {comparison.agreement:.3%} of {comparison.decisions:,} decisions, "
            f"which is less than {least:.3%}, so no file was written. {advice}".strip()
        )


@torch.no_grad()
def eager(graph: ExportGraph, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Run the network itself."""
    return in_order(graph.network(*inputs))
