"""How long the Conformer trains for an epoch with batches of a fixed size, and with dynamic ones, in the same memory.

Run it from the project's folder: ``python -m benchmarks.speech_training --help``.
"""

import argparse
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from lightning.pytorch import LightningModule
from torch import Tensor

from benchmarks.dynamic_batching import Batches, Lengths, fixed, ours, read_durations
from benchmarks.machine import describe
from benchmarks.runner import in_own_process, named, positive, ratios_by_round, spread, take_turns
from benchmarks.steps import CONFIGS, make
from modules.conformer import SpeechRecognizer
from modules.networks.ctc import ctc_losses
from sextant.cli.command import run_command
from sextant.errors import InputError
from sextant.memory import peak_memory

FRAMES_PER_SECOND = 100
FRAMES_PER_LABEL = 8  # about 12 characters a second, as people read
METHODS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "fixed size, random": (fixed, {"ordered": False}),
    "fixed size, sorted": (fixed, {"ordered": True}),
    "ours, padding 3%": (ours, {"padding": 0.03}),
}


@dataclass(frozen=True)
class Setup:
    """What is trained.

    Args:
        lengths: seconds of the utterances, float (N,).
        budget: the most that utterances times longest one may be in a batch, in seconds.
        num_layers: layers of the Conformer.
        device: where.
    """

    lengths: Lengths
    budget: float
    num_layers: int
    device: str


class Training:
    """A model that is trained on batches of noise as long as the utterances, so that reading costs nothing."""

    def __init__(self, setup: Setup) -> None:
        torch.manual_seed(0)
        settings = yaml.safe_load((CONFIGS / "conformer_librispeech.yaml").read_text())["model"]
        settings["init_args"]["architecture"] |= {"num_layers": setup.num_layers}
        module: SpeechRecognizer = make(LightningModule, settings)
        self.module = module.to(setup.device).train()
        self.optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4, fused=True)
        self.setup = setup
        self.num_features: int = settings["init_args"]["num_features"]
        most = round(setup.budget * FRAMES_PER_SECOND) + len(setup.lengths)
        self.noise = torch.randn(most, self.num_features, device=setup.device)

    def batch(self, indices: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Features, their frames, labels and their numbers."""
        frames = torch.from_numpy((self.setup.lengths[indices] * FRAMES_PER_SECOND).astype(np.int64).clip(16))
        counts = (frames // FRAMES_PER_LABEL).clamp(min=1)
        cells = len(indices) * int(frames.max())
        features = self.noise[:cells].reshape(len(indices), -1, self.num_features)
        labels = torch.arange(int(counts.max())).remainder(28).add(1).expand(len(indices), -1)
        device = self.setup.device
        return features, frames.to(device), labels.to(device), counts.to(device)

    def epoch(self, batches: Batches) -> float:
        """Train on batches, and give the seconds it took."""
        start = time.perf_counter()
        for indices in batches:
            features, frames, labels, counts = self.batch(indices)
            log_probs, encoded = self.module(features, frames)
            loss = ctc_losses(log_probs, encoded, labels, counts).sum() / counts.sum()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        if self.setup.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start


def peak(setup: Setup, method: str) -> float:
    """The most memory of an epoch above what the model takes, in MB, in a process that does nothing else."""
    training = Training(setup)
    deal, options = METHODS[method]
    before = peak_memory()
    training.epoch(deal(setup.lengths, setup.budget, **options)(0, 0, 1))
    return torch.cuda.max_memory_allocated() / 2**20 if setup.device == "cuda" else peak_memory() - before


def measure(setup: Setup, rounds: int) -> dict[str, list[float]]:
    """Seconds of an epoch by method and round; the methods take turns, in an order that changes with the round."""
    training = Training(setup)
    deals = {method: deal(setup.lengths, setup.budget, **options) for method, (deal, options) in METHODS.items()}
    training.epoch(deals["ours, padding 3%"](0, 0, 1)[:3])  # the first steps allocate memory
    epochs = itertools.count()
    return take_turns(
        list(METHODS), rounds, lambda method: training.epoch(deals[method](next(epochs), 0, 1)), "{:8.2f} s".format
    )


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speech_training",
        description="Seconds per epoch of the Conformer with random and sorted batches of a fixed size and with "
        "dynamic batches, on noise as long as real utterances; the longest batch is the same for all.",
    )
    parser.add_argument(
        "--durations", type=Path, help="CSV with a column 'length', in samples at 16 kHz; without it they are drawn"
    )
    parser.add_argument("--utterances", type=positive, default=400, help="how many to draw (default: %(default)s)")
    parser.add_argument("--shorten", type=float, default=4.0, help="divide durations by this (default: %(default)s)")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds of a batch (default: %(default)s)")
    parser.add_argument("--layers", type=positive, default=4, help="of the Conformer (default: %(default)s)")
    parser.add_argument("--rounds", type=positive, default=3, help="epochs of each method (default: %(default)s)")
    return parser.parse_args(args)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark.

    Args:
        arguments: the words of the command line; those of this process if None.
    """
    args = parse(arguments)
    generator = np.random.default_rng(0)
    durations = read_durations(args.durations) if args.durations else generator.triangular(2, 15, 17, 10_000)
    lengths = generator.choice(durations, min(args.utterances, len(durations)), replace=False) / args.shorten
    if args.budget < lengths.max():
        raise InputError(f"--budget is {args.budget:g}; it must hold the longest utterance, of {lengths.max():.2f} s.")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    setup = Setup(lengths, args.budget, args.layers, device)
    data = f"real durations ({args.durations}), noise for speech" if args.durations else named(None, "drawn")
    print(describe(data), flush=True)
    seconds = measure(setup, args.rounds)
    print(f"\n{len(lengths):,} utterances, {lengths.sum():,.0f} s in all, {args.budget:g} s a batch")
    print(f"{'method':20} {'s/epoch':>8} {'rounds':>15} {'times faster':>12} {'peak MB':>8}")
    for method, of_rounds in seconds.items():
        megabytes = in_own_process(peak, setup, method)
        faster = np.median(ratios_by_round(seconds, "fixed size, random", method))
        print(
            f"{method:20} {np.median(of_rounds):8.2f} {spread(of_rounds, 2):>15} {faster:12.2f} {megabytes:8.0f}",
            flush=True,
        )


if __name__ == "__main__":
    run_command(main, "no figures")
