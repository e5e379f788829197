"""Train, validate, test and use the workloads: ``python train.py --help``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sextant.cli.command import run_command

if TYPE_CHECKING:
    from sextant.cli.cli import SextantCLI

SHARED_CONFIG = Path(__file__).resolve().parent / "configs" / "trainer.yaml"


def main(args: Sequence[str] | None = None) -> "SextantCLI":
    """Run one command.

    Args:
        args: the command's arguments, after the program's name; those of this process if None.

    Returns:
        The command line interface, which holds the trainer, the model and the data after the run.
    """
    # These take seconds, in which a signal is handled already.
    from callbacks.batch_length_finder import BatchLengthFinder
    from callbacks.images.segmentation_writer import SegmentationWriter
    from sextant.cli.cli import SextantCLI

    groups = {"segmentations": SegmentationWriter, "batch_length_finder": BatchLengthFinder}
    return SextantCLI(SHARED_CONFIG, None if args is None else list(args), groups)


if __name__ == "__main__":
    run_command(main, "what was finished is whole")
