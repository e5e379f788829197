"""What a training step of the full-size FLAVA costs under the Trainer, by hand, and with questions padded to 512.

Run it from the project's folder: ``python -m benchmarks.visual_questions --help``.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from torch import nn
from transformers import FlavaModel

from benchmarks.machine import describe
from benchmarks.runner import (
    add_block_arguments,
    in_own_process,
    median_seconds,
    named,
    positive,
    quiet,
    ratios_by_round,
    spread,
    steps_of_a_block,
    take_turns,
)
from benchmarks.steps import CONFIGS, Clock, StepClock, fit, make, shared_trainer
from datamodules.synthetic import text_vqa as synthetic_set
from datamodules.text_vqa import TextVQA
from modules.flava import VisualQuestionAnswerer
from modules.networks.flava import FlavaArchitecture
from sextant.cli.command import run_command
from sextant.memory import peak_memory

LONGEST = 512
TINY = FlavaArchitecture(32, 16, 30522, LONGEST, 16, 16, 2, 1, 1, 1)
VARIANTS = ("trainer", "by hand", f"by hand, {LONGEST} tokens")
Settings = dict[str, dict[str, Any]]  # for model, data and trainer


def read_settings(args: argparse.Namespace, folder: Path) -> Settings:
    """Read what ``model``, ``data`` and ``trainer`` are made from, and fit it to the benchmark.

    Args:
        args: the command line.
        folder: for logs and synthetic data.
    """
    workload = yaml.safe_load((CONFIGS / "flava_textvqa.yaml").read_text())
    architecture = TINY if args.tiny else FlavaArchitecture()
    workload["model"]["init_args"] |= {
        "vocab_size": 14,  # the synthetic set's; TextVQA's 3,997 make the head 1 % of the weights instead of none
        "weights": None,
        "architecture": asdict(architecture),
        "loss": "cross_entropy",
    }
    workload["data"]["init_args"] |= {
        "synthetic": True,
        "cache": str(folder),
        "preprocessing": {"image_size": architecture.image_size},
        "batch_size": args.batch_size,
        "num_workers": 0,
    }
    steps = steps_of_a_block(args)
    return {"model": workload["model"], "data": workload["data"], "trainer": shared_trainer("auto", folder, steps)}


def make_data(settings: Settings, variant: str) -> TextVQA:
    """Make the data of a variant; every block reads the first batches of its first epoch."""
    init_args = settings["data"]["init_args"]
    preprocessing = init_args["preprocessing"] | {"fixed_length": variant == VARIANTS[2]}
    data: TextVQA = make(TextVQA, settings["data"] | {"init_args": init_args | {"preprocessing": preprocessing}})
    synthetic_set.make(data.cache / synthetic_set.FOLDER, val=12)
    data.setup("fit")
    return data


def run_by_hand(settings: Settings, data: TextVQA, clock: Clock) -> None:
    """Train one block with a loop over ``FlavaModel`` as one would write it by hand."""
    device = clock.device
    options = settings["model"]["init_args"]
    architecture = FlavaArchitecture(**options["architecture"])
    flava = FlavaModel(architecture.configuration())
    head = nn.Sequential(
        nn.Linear(architecture.dim, 768), nn.ReLU(), nn.Dropout(0.5), nn.Linear(768, options["vocab_size"])
    )
    model = nn.ModuleDict({"flava": flava, "head": head}).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), **options["optimizer"]["init_args"])
    for step, loaded in zip(range(settings["trainer"]["max_steps"]), data.train_dataloader(), strict=False):
        clock.step_starts(step)
        batch = data.transform(data.transfer_batch_to_device(loaded, device, 0), training=True)
        tokens, lengths = batch["question"]
        attended = torch.arange(tokens.shape[1], device=device) < lengths[:, None]
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            output = flava(input_ids=tokens, pixel_values=batch["image"], attention_mask=attended.long())
            loss = F.cross_entropy(head(output.multimodal_embeddings[:, 0]), batch["label"])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def run(settings: Settings, variant: str, clock: Clock) -> None:
    """Train one block of a variant."""
    data = make_data(settings, variant)
    train(settings, data, variant, clock)


def train(settings: Settings, data: TextVQA, variant: str, clock: Clock) -> None:
    """Train one block on data that is there already."""
    if variant == VARIANTS[0]:
        fit(settings["trainer"], make(VisualQuestionAnswerer, settings["model"]), data, StepClock(clock))
    else:
        run_by_hand(settings, data, clock)


def peak(settings: Settings, variant: str, threads: int) -> float:
    """The most memory of a block above what was in use before, in MB, in a process that does nothing else."""
    torch.set_num_threads(threads)
    quiet()
    data = make_data(settings, variant)
    before = peak_memory()
    settings["trainer"]["max_steps"] = 2  # the second one has the optimizer's state
    train(settings, data, variant, Clock(device(), 0, 1))
    return torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else peak_memory() - before


def device() -> torch.device:
    """Where it runs."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.visual_questions",
        description="Compare a training step of FLAVA with random weights under the shared Trainer with one of a loop "
        f"written by hand over transformers' FlavaModel, and with one whose questions are all padded to {LONGEST} "
        "tokens: the same batches of the synthetic set (questions of 6 to 12 tokens, images of 224 pixels), the "
        "same optimizer. Blocks of steps alternate in one process; the peak of memory of each is measured in its own.",
    )
    parser.add_argument("--batch-size", type=positive, default=8, help="questions per step (default: %(default)s)")
    add_block_arguments(parser, steps=2, warmup=1, rounds=3)
    parser.add_argument(
        "--variants", nargs="+", choices=VARIANTS, default=[*VARIANTS], help="those to measure (default: all)"
    )
    parser.add_argument("--tiny", action="store_true", help="take a tiny model, to see whether the benchmark works")
    return parser.parse_args(args)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark.

    Args:
        arguments: the words of the command line; those of this process if None.
    """
    args = parse(arguments)
    torch.set_num_threads(args.threads)
    print(describe(named(None, "generated images and questions")), flush=True)
    quiet()
    with tempfile.TemporaryDirectory(prefix="visual_questions_") as folder:
        settings = read_settings(args, Path(folder))

        def block(variant: str) -> float:
            clock = Clock(device(), args.warmup, args.steps)
            run(settings, variant, clock)
            return median_seconds(clock.seconds)

        seconds = take_turns(args.variants, args.rounds, block, "{:8.3f} s".format)
        print(f"\n{'variant':20} {'s/step':>8} {'rounds':>17} {'by hand':>8} {'peak MB':>8}")
        for variant, of_rounds in seconds.items():
            megabytes = in_own_process(peak, settings, variant, args.threads)
            ratio = np.median(ratios_by_round(seconds, variant, VARIANTS[1])) if VARIANTS[1] in seconds else np.nan
            print(
                f"{variant:20} {np.median(of_rounds):8.3f} {spread(of_rounds):>17} {ratio:8.3f} {megabytes:8.0f}",
                flush=True,
            )


if __name__ == "__main__":
    run_command(main, "no figures")
