"""Dynamic batches side by side with those of SpeechBrain and lhotse, and with batches of a fixed size.

Run it from the project's folder: ``uv run --group peers python -m benchmarks.dynamic_batching --help``.
"""

import argparse
import csv
import logging
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe
from benchmarks.runner import in_own_process, named, positive
from sextant.cli.command import run_command
from sextant.errors import InputError
from sextant.memory import peak_memory
from sextant.samplers.dynamic import DynamicBatchSampler
from sextant.samplers.speechbrain import SpeechBrainBatchSampler

Lengths = NDArray[np.float64]
Batches = list[list[int]]
#: Gives the batches of an epoch for a rank out of a number of ranks.
Deal = Callable[[int, int, int], Batches]
RANKS = 8


@dataclass(frozen=True)
class Figures:
    """What was measured of a method.

    Args:
        batches: in an epoch.
        padding: padded cells as a share of all cells.
        repeat: the mean share of an example's batch-mates that it meets again in the next epoch.
        over: batches beyond the budget.
        left_out: examples that no one of 8 ranks gets.
        repeated: examples that several of 8 ranks get, or one of them several times.
        seconds: to make the batches of an epoch, after the first.
        megabytes: the peak of memory above what was in use before.
    """

    batches: int
    padding: float
    repeat: float
    over: int
    left_out: int
    repeated: int
    seconds: float
    megabytes: float


def ours(lengths: Lengths, budget: float, **options: Any) -> Deal:
    """This project's sampler."""
    return _on_ranks(partial(DynamicBatchSampler, lengths, budget, **options))


def drop_in(lengths: Lengths, budget: float, num_buckets: int) -> Deal:
    """This project's sampler, called as SpeechBrain's is."""
    arguments: dict[str, Any] = {"lengths_list": lengths, "seed": 0}
    return _on_ranks(partial(SpeechBrainBatchSampler, range(len(lengths)), budget, num_buckets, **arguments))


def _on_ranks(make: Callable[..., DynamicBatchSampler]) -> Deal:
    def deal(epoch: int, rank: int, world_size: int) -> Batches:
        if (rank, world_size) not in made:
            made[rank, world_size] = make(rank=rank, world_size=world_size)
        made[rank, world_size].set_epoch(epoch)
        return list(made[rank, world_size])

    made: dict[tuple[int, int], DynamicBatchSampler] = {}
    return deal


def speechbrain(lengths: Lengths, budget: float, num_buckets: int) -> Deal:
    """SpeechBrain's ``DynamicBatchSampler``, wrapped as it is for several ranks."""
    from speechbrain.dataio.sampler import DistributedSamplerWrapper
    from speechbrain.dataio.sampler import DynamicBatchSampler as Peer

    sampler = Peer(range(len(lengths)), budget, num_buckets, lengths_list=lengths.tolist(), seed=0)

    def deal(epoch: int, rank: int, world_size: int) -> Batches:
        if world_size == 1:
            sampler.set_epoch(epoch)
            return [list(batch) for batch in sampler]
        wrapped = DistributedSamplerWrapper(sampler, num_replicas=world_size, rank=rank)
        wrapped.set_epoch(epoch)
        return [list(batch) for batch in wrapped]

    return deal


def lhotse(lengths: Lengths, budget: float, num_buckets: int) -> Deal:
    """The ``DynamicBucketingSampler`` of lhotse."""
    from lhotse import CutSet, MonoCut
    from lhotse.dataset.sampling import DynamicBucketingSampler

    cuts = CutSet.from_cuts(MonoCut(str(i), 0.0, float(x), 0) for i, x in enumerate(lengths)).to_eager()

    def deal(epoch: int, rank: int, world_size: int) -> Batches:
        sampler = DynamicBucketingSampler(
            cuts, max_duration=budget, num_buckets=num_buckets, shuffle=True, seed=0, rank=rank, world_size=world_size
        )
        sampler.set_epoch(epoch)
        return [[int(cut.id.split("_")[0]) for cut in batch] for batch in sampler]  # it names copies 7_dup0

    return deal


def fixed(lengths: Lengths, budget: float, ordered: bool) -> Deal:
    """Batches of the largest size that keeps the longest examples within the budget, random or by length."""
    size = int(budget // lengths.max())

    def deal(epoch: int, rank: int, world_size: int) -> Batches:
        order = np.argsort(lengths) if ordered else np.random.default_rng([epoch, 1]).permutation(len(lengths))
        batches = [order[i : i + size].tolist() for i in range(0, len(order), size)]
        return batches[rank::world_size]

    return deal


METHODS: dict[str, tuple[Callable[..., Deal], dict[str, Any]]] = {
    "fixed size, random": (fixed, {"ordered": False}),
    "fixed size, sorted": (fixed, {"ordered": True}),
    **{f"SpeechBrain, {n} buckets": (speechbrain, {"num_buckets": n}) for n in (10, 60, 200, 1000)},
    **{f"drop-in, {n} buckets": (drop_in, {"num_buckets": n}) for n in (1, 10, 60, 200, 1000)},
    **{f"lhotse, {n} buckets": (lhotse, {"num_buckets": n}) for n in (10, 30, 100)},
    **{f"ours, padding {p:.1%}": (ours, {"padding": p}) for p in (0.005, 0.01, 0.02, 0.03, 0.05, 0.1)},
    "ours, 1 bucket": (ours, {"buckets": 1}),
}


def measure(method: str, lengths: Lengths, budget: float) -> Figures:
    """Measure a method in a process that does nothing else."""
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    before = peak_memory()
    make, options = METHODS[method]
    deal = make(lengths, budget, **options)
    first = deal(0, 0, 1)
    start = time.perf_counter()
    second = deal(1, 0, 1)
    seconds = time.perf_counter() - start
    megabytes = peak_memory() - before
    sizes = np.array([len(batch) for batch in second])
    cells = sizes * np.array([lengths[batch].max() for batch in second])
    total = lengths[np.concatenate(second)].sum()
    counts = np.zeros(len(lengths), np.int64)
    for rank in range(RANKS):
        np.add.at(counts, np.concatenate([[], *deal(1, rank, RANKS)]).astype(np.int64), 1)
    return Figures(
        batches=len(second),
        padding=float(1 - total / cells.sum()),
        repeat=met_again(len(lengths), first, second),
        over=int((cells > budget * (1 + 1e-9)).sum()),
        left_out=int((counts == 0).sum()),
        repeated=int((counts > 1).sum()),
        seconds=seconds,
        megabytes=megabytes,
    )


def met_again(examples: int, first: Batches, second: Batches) -> float:
    """The mean share of an example's batch-mates in the first epoch that it meets again in the second."""
    batch = np.full((2, examples), -1, np.int64)
    for row, batches in zip(batch, (first, second), strict=True):
        row[np.concatenate(batches)] = np.repeat(np.arange(len(batches)), [len(b) for b in batches])
    both = (batch >= 0).all(0)
    pair = batch[0, both] * (batch[1].max() + 1) + batch[1, both]
    _, of, together = np.unique(pair, return_inverse=True, return_counts=True)
    mates = np.array([len(b) for b in first])[batch[0, both]] - 1
    return float(((together[of] - 1)[mates > 0] / mates[mates > 0]).mean())


def read_durations(file: Path) -> Lengths:
    """Seconds of the utterances in a CSV file with a column ``length``, in samples at 16 kHz."""
    try:
        with file.open(newline="") as rows:
            return np.array([float(row["length"]) / 16_000 for row in csv.DictReader(rows)])
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{file}: not a CSV file with a column 'length' ({type(error).__name__}: {error}).") from error


def draw_texts(count: int) -> Lengths:
    """Lengths of texts in tokens, 1 to 1024, log-normal."""
    return np.exp(np.random.default_rng(1).normal(4.5, 0.8, count)).round().clip(1, 1024)


def report(name: str, figures: dict[str, Figures]) -> None:
    """Print a table, and how much padding ours has at the peers' randomness."""
    print(f"\n{name}")
    print(
        f"{'method':24} {'batches':>8} {'padding %':>9} {'repeat %':>8} {'over':>6} {'left out':>8} {'repeated':>8} "
        f"{'s/epoch':>8} {'MB':>6}"
    )
    for method, f in figures.items():
        print(
            f"{method:24} {f.batches:8,} {100 * f.padding:9.2f} {100 * f.repeat:8.2f} {f.over:6,} {f.left_out:8,} "
            f"{f.repeated:8,} {f.seconds:8.3f} {f.megabytes:6.0f}"
        )
    curve = sorted((f.repeat, f.padding) for method, f in figures.items() if method.startswith("ours, padding"))
    repeats, paddings = np.log([r for r, _ in curve]), [p for _, p in curve]
    for method, f in figures.items():
        if method.startswith(("SpeechBrain", "lhotse")) and curve and curve[0][0] <= f.repeat <= curve[-1][0]:
            padding = float(np.interp(np.log(f.repeat), repeats, paddings))
            print(f"at the randomness of {method}: ours has {100 * padding:.2f} % padding, {padding / f.padding:.2f} x")


def draw(sets: dict[str, dict[str, Figures]], file: Path) -> None:
    """Draw padding against randomness, one image for each set of lengths, with a point for each method."""
    from matplotlib.figure import Figure

    figure = Figure((7 * len(sets), 5), layout="constrained")
    for axes, (name, figures) in zip(figure.subplots(1, len(sets), squeeze=False)[0], sets.items(), strict=True):
        for family, marker in (("ours, padding", "o-"), ("SpeechBrain", "s--"), ("lhotse", "^:"), ("fixed", "x")):
            chosen = {method: f for method, f in figures.items() if method.startswith(family)}
            points = [(100 * f.repeat, 100 * f.padding) for f in chosen.values()]
            axes.plot(*zip(*sorted(points), strict=True) if points else ([], []), marker, label=family, markersize=5)
            for method, point in zip(chosen, points, strict=True):
                axes.annotate(method.split(", ")[1].removeprefix("padding "), point, fontsize=7)
        axes.set(xscale="log", yscale="log", title=name)
        axes.set(xlabel="batch-mates met again in the next epoch (%), lower is more random", ylabel="padding (%)")
        axes.legend()
    figure.savefig(file)


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.dynamic_batching",
        description="Compare dynamic batches with those of SpeechBrain, lhotse and fixed sizes: padding, randomness, "
        "batches beyond the budget, examples left out or repeated on 8 ranks, time and memory.",
    )
    parser.add_argument("--durations", type=Path, help="CSV with a column 'length', in samples at 16 kHz")
    parser.add_argument(
        "--texts", type=positive, default=1_000_000, help="how many text lengths to draw (default: %(default)s)"
    )
    parser.add_argument("--image", type=Path, help="draw padding against randomness into this file, .png or .svg")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), help="which to compare")
    return parser.parse_args(args)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark.

    Args:
        arguments: the words of the command line; those of this process if None.
    """
    args = parse(arguments)
    sets: dict[str, tuple[Lengths, float]] = {}
    if args.durations:
        real = read_durations(args.durations)
        few = np.random.default_rng(0).choice(real, min(1519, len(real)), replace=False)
        sets[f"{len(few):,} of the utterances, 544 s a batch"] = few, 544.0
        sets[f"{len(real):,} utterances, 600 s a batch"] = real, 600.0
    sets[f"{args.texts:,} texts, 16,384 tokens a batch"] = draw_texts(args.texts), 16_384.0
    print(describe(named(args.durations, "drawn lengths")), flush=True)
    measured: dict[str, dict[str, Figures]] = {}
    for name, (lengths, budget) in sets.items():
        figures = measured[name] = {}
        for method in args.methods:
            figures[method] = in_own_process(measure, method, lengths, budget)
            print(".", end="", flush=True)
        report(name, figures)
    if args.image:
        draw(measured, args.image)


if __name__ == "__main__":
    try:
        run_command(main, "no figures")
    except ModuleNotFoundError as error:
        sys.exit(f"\nerror: {error}. The peers come with: uv run --group peers python -m benchmarks.dynamic_batching")
