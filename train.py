"""Train, validate, test and use the workloads: ``python train.py --help``."""

from collections.abc import Sequence
from pathlib import Path

from callbacks.batch_length_finder import BatchLengthFinder
from callbacks.images.segmentation_writer import SegmentationWriter
from sextant.cli.cli import SextantCLI
from sextant.cli.command import run_command

SHARED_CONFIG = Path(__file__).resolve().parent / "configs" / "trainer.yaml"

#: Callbacks whose settings are groups of the command line.
CALLBACK_GROUPS = {"segmentations": SegmentationWriter, "batch_length_finder": BatchLengthFinder}


def main(args: Sequence[str] | None = None) -> SextantCLI:
    """Run one command.

    Args:
        args: the command's arguments, after the program's name; those of this process if None.

    Returns:
        The command line interface, which holds the trainer, the model and the data after the run.
    """
    return SextantCLI(SHARED_CONFIG, None if args is None else list(args), CALLBACK_GROUPS)


if __name__ == "__main__":
    run_command(main, "what was finished is whole")
