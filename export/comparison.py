"""How far an exported file is from the network it was made from, and how fast."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from export.formats.format import Runner
from modules.export_graph import ExportGraph, in_order

TIMED = 20  # runs


@dataclass(frozen=True)
class Comparison:
    """What was measured.

    Args:
        samples: real samples that both were run on.
        decisions: decisions that both made.
        agreement: share of them that are equal.
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
    differences = []
    for inputs in tqdm(examples, "Comparing", disable=not progress):
        wanted, found = eager(graph, inputs), exported(inputs)
        equal_here = graph.decisions(wanted) == graph.decisions(found)
        equal, decisions = equal + int(equal_here.sum()), decisions + len(equal_here)
        differences.append((wanted[0].double() - found[0].double()).abs().max())
        samples += len(inputs[0])
    singles = [tuple(x[:1] for x in inputs) for inputs in examples]
    times: tuple[list[float], list[float]] = ([], [])
    for repetition in range(TIMED):  # side by side, so that both see the same state of the machine
        inputs = singles[repetition % len(singles)]
        for of, run in zip(times, (lambda x: eager(graph, x), exported), strict=True):
            start = time.perf_counter()
            run(inputs)
            of.append(1000 * (time.perf_counter() - start))
    return Comparison(
        samples=samples,
        decisions=decisions,
        agreement=equal / decisions,
        largest_difference=float(torch.stack(differences).max()),  # which is no number if one of them is none
        eager_milliseconds=statistics.median(times[0]),
        exported_milliseconds=statistics.median(times[1]),
        threads=torch.get_num_threads(),
    )


@torch.no_grad()
def eager(graph: ExportGraph, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Run the network itself."""
    return in_order(graph.network(*inputs))
