"""Train, validate, test and use the workloads: ``python train.py --help``."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sextant.cli.command import run_command
from sextant.cli.completion import completion
from sextant.cli.overview import overview
from sextant.cli.reports.run_list import list_runs
from sextant.cli.reports.run_page import report

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
    words = sys.argv[1:] if args is None else args
    if set(words) <= {"-h", "--help"}:
        about = overview("python train.py", SHARED_CONFIG)
        if not words:
            sys.exit(about)
        print(about)
        sys.exit()
    quick: dict[str, Callable[[Sequence[str]], None]] = {
        "runs": list_runs,
        "report": report,
        "completion": partial(completion, shared_config=SHARED_CONFIG),
    }
    if words and words[0] in quick:
        quick[words[0]](words[1:])
        sys.exit()
    # These take seconds, in which a signal is handled already.
    from callbacks.batch_length_finder import BatchLengthFinder
    from callbacks.images.segmentation_writer import SegmentationWriter
    from sextant.cli.cli import SextantCLI

    groups = {"segmentations": SegmentationWriter, "batch_length_finder": BatchLengthFinder}
    return SextantCLI(SHARED_CONFIG, None if args is None else list(args), groups)


if __name__ == "__main__":
    run_command(main, "what was finished is whole")
