"""Plan the shards of embedding tables for devices that need not be there.

See ``python -m sextant.cli.plan --help``.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from typing_extensions import override

from sextant.cli.cli import SextantCLI
from sextant.cli.command import run_command
from sextant.errors import InputError
from sextant.strategies.table_plan import GB, Devices
from sextant.strategies.torchrec import TorchRecStrategy

COMMAND = "python -m sextant.cli.plan"


class ReadOnlyCLI(SextantCLI):
    """Makes what a command is about, and does not run it."""

    @override
    def _run_subcommand(self, subcommand: str) -> None:
        pass


def parse(arguments: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """Read the command line: its own options, and those of ``train.py fit``."""
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        description="Print how TorchRec would cut the embedding tables of a configuration and deal them to devices. "
        "Nothing is trained, and the devices need not be there. All options of train.py fit are taken too, such as "
        "--config.",
        allow_abbrev=False,
    )
    parser.add_argument("--devices", type=int, required=True, help="how many, on all nodes together")
    parser.add_argument("--devices_per_node", type=int, help="all on one node if not given")
    parser.add_argument("--kind", choices=("cuda", "cpu"), default="cuda", help="of the devices")
    parser.add_argument(
        "--memory_gb", type=float, default=80 * 0.85, help="GB for tables on each (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, help="write the plan to this file, for TorchRecStrategy.plan")
    options, words = parser.parse_known_args(arguments)
    per_node = options.devices_per_node or options.devices
    for name, value in (("devices", options.devices), ("devices_per_node", per_node)):
        if value < 1:
            raise InputError(f"--{name} is {value}; it must be 1 or more.")
    if options.devices % per_node:
        raise InputError(f"--devices is {options.devices}; it must be a multiple of --devices_per_node ({per_node}).")
    if options.memory_gb <= 0:
        raise InputError(f"--memory_gb is {options.memory_gb:g}; it must be above 0.")
    options.devices_per_node = per_node
    return options, words


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the plan.

    Args:
        arguments: the words of the command line after the command; those of this process if None.

    Raises:
        InputError: the options make no sense, or the tables do not fit.
    """
    options, words = parse(arguments)
    # What is planned for is said by the options here; the Trainer is that of the machine at hand.
    here = ["--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.num_nodes=1", "--trainer.logger=false"]
    cli = ReadOnlyCLI(Path("configs/trainer.yaml").resolve(), ["fit", *words, *here])
    strategy = cli.trainer.strategy
    if not isinstance(strategy, TorchRecStrategy):
        strategy = TorchRecStrategy()
    with torch.device("meta"):
        cli.model.take_tables(cli.datamodule.table_sizes, cli.datamodule.dense_features)
        cli.model.configure_model()
    devices = Devices(options.kind, options.devices, options.devices_per_node, round(options.memory_gb * GB))
    plan = strategy.plan_for(cli.model, devices, cli.datamodule.batch_size)
    print(plan)
    if options.output is not None:
        try:
            options.output.write_text(plan.to_json())
        except OSError as error:
            raise InputError(
                f"{options.output}: the plan cannot be written ({error}). Give another --output."
            ) from error


if __name__ == "__main__":
    run_command(main, "nothing was written")
