"""What a training step costs under the shared Trainer, against a loop written by hand.

Run it from the project's folder: ``python -m benchmarks.trainer_overhead --help``.
"""

import argparse
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from lightning.pytorch import Trainer

from benchmarks.machine import describe
from benchmarks.runner import (
    add_block_arguments,
    median_seconds,
    milliseconds_per_step,
    named,
    positive,
    quiet,
    ratios_by_round,
    steps_of_a_block,
    take_turns,
)
from benchmarks.steps import CONFIGS, Clock, StepClock, fit, make, shared_trainer
from datamodules.synthetic import tiny_imagenet as synthetic_set
from datamodules.tiny_imagenet import TinyImageNet
from modules.resnet import ImageClassifier
from sextant.cli.command import run_command
from sextant.errors import InputError
from sextant.optimization import parameter_groups

VARIANTS = ("trainer", "plain", "plain+metrics")
Settings = dict[str, dict[str, Any]]  # for model, data and trainer
GOAL = 0.05  # most that the Trainer may add to a step, as a share of the plain one


def read_settings(args: argparse.Namespace, folder: Path) -> Settings:
    """Read what ``model``, ``data`` and ``trainer`` are made from, and fit it to the benchmark.

    The workload's own callbacks (weight averaging, images) and checkpoints are left out: they belong to the recipe
    or act between steps, and the plain loop has neither. On a GPU both sides use bf16, as the recipe does.

    Args:
        args: the command line.
        folder: for logs and synthetic data.
    """
    workload = yaml.safe_load((CONFIGS / "resnet_tiny_imagenet.yaml").read_text())
    workload["model"]["init_args"] |= {"stem": args.stem}
    source = {"synthetic": True, "cache": str(folder)} if args.data_root is None else {"root": args.data_root}
    workload["data"]["init_args"] |= {"batch_size": args.batch_size, "num_workers": args.num_workers} | source
    trainer = shared_trainer(args.accelerator, folder, steps_of_a_block(args))
    return {"model": workload["model"], "data": workload["data"], "trainer": trainer}


def make_data(settings: Settings, args: argparse.Namespace) -> TinyImageNet:
    """Make the data that all variants read; every block reads the first batches of its first epoch.

    Raises:
        InputError: there are not enough images for a block.
    """
    needed = steps_of_a_block(args)
    data = make(TinyImageNet, settings["data"])
    if data.synthetic:  # enough images for whole batches, the same number in each class
        classes = len(synthetic_set.OUTLINES)
        batches = needed + -needed % (classes // math.gcd(args.batch_size, classes))
        synthetic_set.make(data.root, train=batches * args.batch_size // classes, val=1, test=1)
    data.prepare_data()
    data.setup("fit")
    available = len(data.train_dataloader())
    if available < needed:
        raise InputError(
            f"{data.root}: {available} batches of {args.batch_size}, but a block takes {needed} (--steps, --warmup, "
            "and one that ends the last of them). Give fewer --steps, a smaller --batch-size, or more images."
        )
    settings["model"]["init_args"]["num_classes"] = len(data.data_spec().labels)
    return data


def run_plain(settings: Settings, data: TinyImageNet, clock: Clock, with_metrics: bool) -> None:
    """Train one block with a loop as one would write it by hand.

    Args:
        settings: of the model.
        data: its loader and its transform.
        clock: is told when a step starts.
        with_metrics: update the module's training metrics too, which a plain loop would not do.
    """
    device = clock.device
    steps, log_every = settings["trainer"]["max_steps"], settings["trainer"]["log_every_n_steps"]
    model = make(ImageClassifier, settings["model"]).to(device).train()
    optimizer = model.optimization.optimizer(parameter_groups(model.network, model.decay_norm_and_bias))
    schedule = model.optimization.scheduler(optimizer)
    schedule.total_steps = steps
    for step, loaded in zip(range(steps), data.train_dataloader(), strict=False):
        batch = {name: value.to(device, non_blocking=True) for name, value in loaded.items()}
        batch = data.transform(batch, training=True)
        clock.step_starts(step)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            if with_metrics:
                loss = model.step(batch, model.train_metrics)["loss"]
            else:
                loss = F.cross_entropy(model(batch["image"]), batch["label"], label_smoothing=model.label_smoothing)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if (step + 1) % log_every == 0:
            print(f"  step {step + 1}, loss {loss.item():.3f}")


def measure(settings: Settings, data: TinyImageNet, args: argparse.Namespace) -> dict[str, list[np.ndarray]]:
    """Time all variants in turn, in every round in another order.

    Returns:
        For each variant and round, what :attr:`Clock.seconds` has.
    """
    data.trainer = make(Trainer, settings["trainer"])  # on a GPU, the loader pins memory for the plain loop too
    device = data.trainer.strategy.root_device
    if device.type == "cuda":
        settings["trainer"]["precision"] = "bf16-mixed"

    def block(variant: str) -> np.ndarray:
        clock = Clock(device, args.warmup, args.steps)
        if variant == "trainer":
            fit(settings["trainer"], make(ImageClassifier, settings["model"]), data, StepClock(clock))
        else:
            run_plain(settings, data, clock, with_metrics=variant == "plain+metrics")
        return clock.seconds

    return take_turns(VARIANTS, args.rounds, block, milliseconds_per_step)


def report(seconds: dict[str, list[np.ndarray]], args: argparse.Namespace, log_every_n_steps: int) -> None:
    """Print the median step of each variant, the ratio, and how much of the difference the metrics make."""
    print(f"\n{'variant':13} {'median ms':>10} {'mean ms':>10} {'min ms':>10} {'processor ms':>12} {'samples/s':>10}")
    median: dict[str, np.ndarray] = {}
    for variant, blocks in seconds.items():
        steps = np.concatenate(blocks)
        wall, processor = median[variant] = np.median(steps, axis=0)
        figures = f"{1000 * wall:10.2f} {1000 * steps[:, 0].mean():10.2f} {1000 * steps[:, 0].min():10.2f}"
        print(f"{variant:13} {figures} {1000 * processor:12.2f} {args.batch_size / wall:10.1f}")
    medians = {variant: [median_seconds(block) for block in blocks] for variant, blocks in seconds.items()}
    by_round = ratios_by_round(medians, "trainer", "plain")
    rounds = ", ".join(f"{ratio:.4f}" for ratio in by_round)
    ratio, processor_ratio = median["trainer"] / median["plain"]
    print(f"\nratio trainer/plain: {ratio:.4f} (by round: {rounds}); goal at batch 256: {1 + GOAL:.2f} or less")
    print(f"ratio in processor time: {processor_ratio:.4f}")
    overhead = median["trainer"] - median["plain"]
    metrics = median["plain+metrics"] - median["plain"]
    for name, added in (("overhead", overhead), ("  metrics", metrics), ("  the rest", overhead - metrics)):
        wall, processor = 100 * added / median["plain"]
        print(f"{name:10} {1000 * added[0]:8.2f} ms per step, {wall:6.2f} %; in processor time {processor:6.2f} %")
    if len(by_round) > 1 and np.ptp(by_round) > abs(ratio - 1):
        print("The rounds differ by more than the overhead: take more --rounds, --threads 1, or a quieter machine.")
    if args.warmup + args.steps < log_every_n_steps:
        print(f"No step that logs (one in {log_every_n_steps}) was timed: that takes --steps {log_every_n_steps}.")


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.trainer_overhead",
        description="Compare a training step under the shared Trainer (configs/trainer.yaml: callbacks, TensorBoard, "
        "progress bar) with one of a plain PyTorch loop: the same ResNet-18, batches, optimizer and schedule "
        "(configs/resnet_tiny_imagenet.yaml). Blocks of steps alternate between them in one process. A third loop is "
        "the plain one that also updates the module's metrics. On a CPU each step is timed; on a GPU each block.",
    )
    parser.add_argument("--batch-size", type=positive, default=256, help="images per step (default: %(default)s)")
    add_block_arguments(parser, steps=50, warmup=3, rounds=3)
    parser.add_argument(
        "--stem",
        choices=["imagenet", "small"],
        default="imagenet",
        help="first layers; small is the recipe's, and about 15 times the work (default: %(default)s)",
    )
    parser.add_argument(
        "--accelerator", choices=["auto", "cpu", "gpu"], default="auto", help="where it runs (default: %(default)s)"
    )
    parser.add_argument(
        "--num-workers",
        type=int,
        default=0,
        help="processes that load data; 0 loads in this one (default: %(default)s)",
    )
    parser.add_argument(
        "--data-root",
        help="a Tiny-ImageNet folder of real images (decoded into data/cache); without it, they are generated",
    )
    return parser.parse_args(args)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark.

    Args:
        arguments: the words of the command line; those of this process if None.
    """
    args = parse(arguments)
    torch.set_num_threads(args.threads)
    print(describe(named(args.data_root, "generated images")), flush=True)
    print(
        f"ResNet-18, stem {args.stem}, batch {args.batch_size}; on {args.accelerator}, {args.threads} threads, "
        f"{args.num_workers} loader workers; {args.rounds} rounds of {args.steps} steps after {args.warmup}",
        flush=True,
    )
    quiet()
    with tempfile.TemporaryDirectory(prefix="trainer_overhead_") as folder:
        settings = read_settings(args, Path(folder))
        data = make_data(settings, args)
        report(measure(settings, data, args), args, settings["trainer"]["log_every_n_steps"])


if __name__ == "__main__":
    run_command(main, "no figures")
