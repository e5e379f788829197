"""What a training step on sharded tables costs under the Trainer, against TorchRec's own loops.

Run it from the project's folder: ``python -m benchmarks.sharded_training --help``.
"""

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from lightning.pytorch import Trainer
from torch.distributed.optim import _apply_optimizer_in_backward
from torchrec.datasets.utils import Batch
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.distributed.train_pipeline import TrainPipelineSparseDist
from torchrec.models.dlrm import DLRM, DLRMTrain
from torchrec.modules.embedding_configs import PoolingType
from torchrec.modules.embedding_modules import EmbeddingBagCollection
from torchrec.optim.keyed import CombinedOptimizer, KeyedOptimizerWrapper
from torchrec.optim.optimizers import in_backward_optimizer_filter
from torchrec.optim.rowwise_adagrad import RowWiseAdagrad as TorchRecRowWiseAdagrad

from benchmarks.click_log import write
from benchmarks.machine import describe
from benchmarks.runner import (
    add_block_arguments,
    median_seconds,
    named,
    positive,
    ratios_by_round,
    steps_of_a_block,
    take_turns,
)
from benchmarks.steps import Clock, StepClock, make, shared_trainer
from datamodules.clicks.settings import Encoding
from datamodules.criteo import Criteo
from modules.dlrm import ClickPredictor
from modules.networks.dlrm import DLRMArchitecture
from modules.row_wise_adagrad import RowWiseAdagrad
from sextant.cli.command import run_command
from sextant.memory import peak_memory
from sextant.strategies.embedding_tables import table_configs
from sextant.strategies.table_planner import AnyTypeSharder
from sextant.strategies.torchrec import TorchRecStrategy

VARIANTS = ("trainer", "plain", "trainer+pipeline", "plain+pipeline")
SPARSE_RATE, DENSE_RATE = 0.02, 1e-3
GOAL = 0.95  # least speed of the Trainer, as a share of the plain loop's


def run_trainer(args: argparse.Namespace, data: Criteo, clock: Clock, folder: Path, pipelined: bool) -> None:
    """Train one block with the Trainer."""
    torch.manual_seed(0)
    model = ClickPredictor(
        architecture=DLRMArchitecture(args.dim, tuple(args.bottom), tuple(args.top)),
        sparse_optimizer=lambda tables: RowWiseAdagrad(tables, lr=SPARSE_RATE),
        optimizer=lambda dense: torch.optim.Adam(dense, lr=DENSE_RATE),
    )
    settings = {"sharding_types": [args.sharding_type], "pipelined": pipelined}
    trainer = make(
        Trainer,
        shared_trainer("cpu", folder, steps_of_a_block(args))
        | {
            "devices": args.processes,
            "strategy": {"class_path": "sextant.strategies.torchrec.TorchRecStrategy", "init_args": settings},
        },
    )
    trainer.callbacks.insert(0, StepClock(clock))
    trainer.fit(model, data)


def run_plain(args: argparse.Namespace, data: Criteo, clock: Clock, pipelined: bool) -> None:
    """Train one block with a loop as TorchRec's documentation has it, with TorchRec's own model, on the same plan."""
    torch.manual_seed(0)
    tables = EmbeddingBagCollection(
        table_configs(data.table_sizes, args.dim, PoolingType.SUM), device=torch.device("meta")
    )
    model = DLRMTrain(
        DLRM(tables, len(data.dense_features), [*args.bottom, args.dim], [*args.top, 1], torch.device("cpu"))
    )
    settings = {"lr": SPARSE_RATE, "eps": 1e-8}
    _apply_optimizer_in_backward(TorchRecRowWiseAdagrad, tables.parameters(), settings, register_hook=False)
    strategy = TorchRecStrategy(sharding_types=[args.sharding_type])
    plan = strategy.planning.plan(model, args.devices, data)
    sharded = DistributedModelParallel(model, device=clock.device, plan=plan.to_torchrec(), sharders=[AnyTypeSharder()])
    dense = KeyedOptimizerWrapper(
        dict(in_backward_optimizer_filter(sharded.named_parameters())),
        lambda parameters: torch.optim.Adam(parameters, lr=DENSE_RATE),
    )
    optimizer = CombinedOptimizer([sharded.fused_optimizer, dense])
    batches = (Batch(batch["dense"], batch["sparse"], batch["label"]) for batch in data.train_dataloader())
    if pipelined:
        pipeline = TrainPipelineSparseDist(sharded, optimizer, clock.device, execute_all_batches=True)
        for step in range(steps_of_a_block(args)):
            clock.step_starts(step)
            pipeline.progress(batches)
        return
    for step, batch in zip(range(steps_of_a_block(args)), batches, strict=False):
        clock.step_starts(step)
        optimizer.zero_grad()
        loss, _ = sharded(batch)
        loss.backward()
        optimizer.step()


def measure(args: argparse.Namespace, data: Criteo, folder: Path) -> dict[str, list[float]]:
    """The median seconds of a step of each variant, by round; the processes take the turns together."""

    def block(variant: str) -> float:
        before = peak_memory()
        clock = Clock(torch.device("cpu"), args.warmup, args.steps)
        pipelined = variant.endswith("pipeline")
        if variant.startswith("trainer"):
            run_trainer(args, data, clock, folder, pipelined)
        else:
            run_plain(args, data, clock, pipelined)
        memory.append(peak_memory() - before)
        dist.barrier()
        return median_seconds(clock.seconds)

    memory: list[float] = []
    seconds = take_turns(VARIANTS, args.rounds, block, lambda median: f"{1000 * median:8.2f} ms per step")
    report_memory(args, data, memory[0])
    return seconds


def report_memory(args: argparse.Namespace, data: Criteo, megabytes: float) -> None:
    """Print how much memory the first block took in each process, beside what the tables take."""
    everyone: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, megabytes)
    tables = sum(data.table_sizes.values()) * args.dim * 4 / 2**20
    if dist.get_rank() == 0:
        peaks = ", ".join(f"{peak:,.0f}" for peak in everyone)
        print(f"all tables: {tables:,.0f} MB; peak of resident memory in each process beyond the start: {peaks} MB")


def run_rank(args: argparse.Namespace, folder: Path) -> None:
    """What each process does."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(args.threads)
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    data = Criteo(
        root=str(folder),
        cache=str(folder / "cache"),
        encoding=Encoding(mapping="hash", dense_transform="log1p"),
        table_sizes=args.table_rows,
        batch_size=args.batch_size,
    )
    strategy = TorchRecStrategy()
    first = Trainer(accelerator="cpu", devices=world_size, strategy=strategy, logger=False)
    strategy.setup_environment()
    args.devices = strategy.planning.devices(strategy.root_device, world_size, world_size)
    data.trainer = first
    data.setup("fit")
    with redirect_stdout(None) if rank else nullcontext():  # all take the turns, and the first one reports them
        seconds = measure(args, data, folder)
    if rank:
        return
    print(f"\n{'variant':17} {'ms per step':>12} {'samples/s':>12}")
    for variant, medians in seconds.items():
        step = float(np.median(medians))
        print(f"{variant:17} {1000 * step:12.2f} {args.batch_size / step:12,.0f}")
    for suffix in ("", "+pipeline"):
        ratios = ratios_by_round(seconds, f"plain{suffix}", f"trainer{suffix}")
        rounds = ", ".join(f"{ratio:.3f}" for ratio in ratios)
        goal = f"{GOAL:.2f}" if not suffix else "1"
        print(f"speed of trainer{suffix} by plain{suffix}: {np.median(ratios):.3f} (by round: {rounds}); goal {goal}")


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sharded_training",
        description="Compare training steps of a DLRM with sharded tables under the Trainer, with its callbacks and "
        "metrics, with TorchRec's model in loops as its documentation has them: DistributedModelParallel alone, and in "
        "TrainPipelineSparseDist. Plan and batches are the same. Blocks of steps alternate in the same processes.",
    )
    parser.add_argument("--processes", type=positive, default=2, help="on the CPU (default: %(default)s)")
    parser.add_argument("--sharding-type", default="row_wise", help="default: %(default)s")
    parser.add_argument("--batch-size", type=positive, default=4096, help="of all processes (default: %(default)s)")
    parser.add_argument(
        "--table-rows", type=positive, default=1_000_000, help="most rows of a table (default: %(default)s)"
    )
    parser.add_argument("--dim", type=positive, default=16, help="of an embedding (default: %(default)s)")
    parser.add_argument("--bottom", type=positive, nargs="+", default=[512, 256, 64], help="default: %(default)s")
    parser.add_argument("--top", type=positive, nargs="+", default=[512, 256], help="default: %(default)s")
    add_block_arguments(parser, steps=30, warmup=5, rounds=4)
    parser.set_defaults(threads=1)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)  # of the rows, for the processes
    return parser.parse_args(args)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark.

    Args:
        arguments: the words of the command line; those of this process if None.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    args = parse(words)
    if args.folder is not None:
        run_rank(args, args.folder)
        return
    print(describe(named(None, "drawn rows in Criteo's format")), flush=True)
    print(
        f"DLRM, dim {args.dim}, {args.sharding_type}, {args.processes} processes of {args.threads} threads, batch "
        f"{args.batch_size}; {args.rounds} rounds of {args.steps} steps after {args.warmup}",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="sharded_training_") as folder:
        rows = round(steps_of_a_block(args) * args.batch_size / 0.8) + 10
        write(Path(folder) / "train.txt", rows)
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={args.processes}"]
        subprocess.run([*launch, "-m", "benchmarks.sharded_training", *words, f"--folder={folder}"], check=True)


if __name__ == "__main__":
    run_command(main, "no figures")
