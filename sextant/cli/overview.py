"""What ``train.py --help`` says: the commands, the workloads and examples. It imports nothing that takes long."""

import textwrap
from collections.abc import Iterator
from pathlib import Path

COMMANDS = {
    "fit": "train a model, or go on with a run",
    "validate": "measure a trained model on the validation data",
    "test": "measure a trained model on the test data",
    "predict": "write what a trained model says of each sample to a file",
    "export": "write a trained model to a file that runs without this project",
    "runs": "list the runs, or in which settings two of them differ",
    "report": "write a run as one HTML page: curves, images, settings",
    "plan": "plan how embedding tables are sharded over devices",
    "consolidate": "make one file of a checkpoint with sharded tables",
}
EXAMPLES = (
    ("fit", "resnet_tiny_imagenet", "--data.download=true"),
    ("fit", "dlrm_criteo", "--config configs/synthetic/dlrm_criteo.yaml --trainer.max_epochs=2"),
    ("validate", "resnet_tiny_imagenet", "--ckpt_path=best"),
)
WIDTH = 80


def overview(program: str, shared_config: Path) -> str:
    """The commands, the workloads and examples, in lines of at most 80 characters.

    Args:
        program: how it is started.
        shared_config: the configuration of the Trainer; those beside it are the workloads.
    """
    return "\n".join(_lines(program, shared_config))


def workload_files(shared_config: Path) -> list[Path]:
    """The configurations of the workloads: those beside the shared one."""
    return sorted(file for file in shared_config.parent.glob("*.yaml") if file != shared_config)


def _lines(program: str, shared_config: Path) -> Iterator[str]:
    yield f"usage: {program} COMMAND --config configs/WORKLOAD.yaml [--SETTING=VALUE]"
    yield "\ncommands:"
    yield from (f"  {name:13}{about}" for name, about in COMMANDS.items())
    yield "\nworkloads:"
    files = workload_files(shared_config)
    column = max((len(file.stem) for file in files), default=0) + 2
    for file in files:
        yield f"  {file.stem:{column}}{textwrap.shorten(_about(file), WIDTH - 2 - column, placeholder=' ...')}"
    yield "\nexamples, the second on generated data, which needs no download:"
    for command, config, more in EXAMPLES:
        yield f"  {program} {command} --config configs/{config}.yaml \\"
        yield f"      {more}"
    yield f"\n{program} COMMAND --help lists the settings of a command,"
    yield "--print_config their values; --debug shows the traceback of an error."


def _about(file: Path) -> str:
    """What a configuration says it is in the comment that it begins with."""
    with file.open(encoding="utf-8") as lines:
        first = next((line for line in lines if not line.startswith("# yaml-language-server")), "")
    return first.removeprefix("#").partition(":")[0].partition(" (")[0].strip() if first.startswith("#") else ""
