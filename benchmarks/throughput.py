"""How fast a configuration trains on the CPU, on one GPU and on all GPUs, and how long it waits for data.

Run it from the project's folder: ``python -m benchmarks.throughput --help``.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from benchmarks.machine import describe
from benchmarks.runner import named
from sextant.cli.command import run_command
from sextant.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
WINDOWS = 6  # measurements of a run, the first of which is left out


def devices(processes: int) -> dict[str, list[str]]:
    """Name the devices that are present, with the settings of the Trainer that take them.

    Args:
        processes: add a row for so many processes on the CPU, unless it is 1.
    """
    found = {"cpu": ["--trainer.accelerator=cpu", "--trainer.devices=1"]}
    if processes > 1:
        name = f"cpu, {processes} processes (ddp)"
        found[name] = ["--trainer.accelerator=cpu", f"--trainer.devices={processes}", "--trainer.strategy=ddp"]
    gpus = torch.cuda.device_count()
    if gpus:
        found["1 gpu"] = ["--trainer.accelerator=gpu", "--trainer.devices=1"]
    if gpus > 1:
        found[f"{gpus} gpus (ddp)"] = [
            "--trainer.accelerator=gpu",
            f"--trainer.devices={gpus}",
            "--trainer.strategy=ddp",
        ]
    return found


def command(args: argparse.Namespace, folder: Path) -> list[str]:
    """The command of a run, without the device.

    Args:
        args: the command line.
        folder: for logs and checkpoints.

    Raises:
        InputError: the workload has no configuration for synthetic data.
    """
    words = [sys.executable, str(ROOT / "train.py"), "fit", f"--config={args.config}"]
    if args.data_root is None:
        synthetic = args.config.parent / "synthetic" / args.config.name
        if not synthetic.exists():
            raise InputError(f"{synthetic}: there is no such file, so --config {args.config} needs a --data-root.")
        words.append(f"--config={synthetic}")
    else:
        words.append(f"--data.root={args.data_root}")
    if args.batch_size is not None:
        words.append(f"--data.batch_size={args.batch_size}")
    return [
        *words,
        f"--trainer.max_steps={args.steps}",
        "--trainer.max_epochs=-1",
        "--trainer.limit_val_batches=0",
        f"--trainer.log_every_n_steps={args.steps // WINDOWS}",
        f"--trainer.logger.init_args.save_dir={folder}",
        *args.words,
    ]


def run(words: list[str]) -> None:
    """Run a command, with its output on the terminal (stderr), and stop it when this program is interrupted.

    Raises:
        InputError: the command failed.
    """
    with subprocess.Popen(words, cwd=ROOT, stdout=sys.stderr) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    if code:
        raise InputError(
            f"The run ended with exit code {code}; its message is above. The command was:\n{' '.join(words)}"
        )


def read_median(folder: Path, name: str) -> float:
    """The median of a scalar in TensorBoard's files somewhere under a folder, without its first value.

    Raises:
        InputError: it was written less than twice.
    """
    values: list[float] = []
    for run_folder in {file.parent for file in folder.rglob("events.out.tfevents.*")}:
        events = EventAccumulator(str(run_folder), size_guidance={"scalars": 0}).Reload()
        if name in events.Tags()["scalars"]:
            values += [event.value for event in events.Scalars(name)]
    if len(values) < 2:
        raise InputError(f"The run logged {name} {len(values)} times; it takes two or more. Give more --steps.")
    return statistics.median(values[1:])


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput",
        description="Train the same steps of a configuration on the CPU, on one GPU and on all GPUs (ddp), as far as "
        "there are any, and print for each the samples per second, and the share of the time in which training stood "
        f"still until the loader gave a batch. Both are medians over {WINDOWS} windows without the first one, and "
        "leave out validation and what is done between epochs. The global batch size is the same in all rows.",
    )
    parser.add_argument(
        "--config",
        type=Path,
        default=ROOT / "configs" / "resnet_tiny_imagenet.yaml",
        help="a workload; the one of its name in synthetic/ is added (default: configs/resnet_tiny_imagenet.yaml)",
    )
    parser.add_argument("--data-root", help="folder of real data, in place of the synthetic configuration")
    parser.add_argument(
        "--steps", type=int, default=60, help=f"steps of each run, {2 * WINDOWS} or more (default: %(default)s)"
    )
    parser.add_argument(
        "--batch-size", type=int, help="samples per step over all processes, if not the configuration's"
    )
    parser.add_argument("--processes", type=int, default=1, help="also run so many processes on the CPU (ddp)")
    parser.add_argument("words", nargs="*", metavar="-- WORDS", help="further settings for train.py, after --")
    parsed = parser.parse_args(args)
    if parsed.steps < 2 * WINDOWS:
        parser.error(f"argument --steps: {parsed.steps} is less than {2 * WINDOWS}")
    return parsed


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark.

    Args:
        arguments: the words of the command line; those of this process if None.
    """
    args = parse(arguments)
    args.config = args.config.resolve()
    print(describe(named(args.data_root, "generated")), flush=True)
    rows: list[str] = []
    cpu_speed = 0.0
    for device, settings in devices(args.processes).items():
        with tempfile.TemporaryDirectory(prefix="throughput_") as folder:
            words = [*command(args, Path(folder)), *settings]
            print(f"{device}: {' '.join(words[1:])}", flush=True)
            run(words)
            speed = read_median(Path(folder), "throughput/samples_per_second")
            waiting = read_median(Path(folder), "throughput/data_wait")
        cpu_speed = cpu_speed or speed
        rows.append(f"{device:24} {speed:10.1f} {speed / cpu_speed:12.3f} {waiting:20.4f}")
    print(f"\n{'device':24} {'samples/s':>10} {'ratio to cpu':>12} {'share waiting (0..1)':>20}")
    print("\n".join(rows))


if __name__ == "__main__":
    run_command(main, "no figures")
