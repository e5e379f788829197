"""Turn a checkpoint of sharded tables, a folder, into one file.

See ``python -m sextant.cli.consolidate --help``.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from sextant.checkpoint_files import take_back
from sextant.cli.command import run_command
from sextant.errors import InputError
from sextant.resume.checkpoint_io import AtomicCheckpointIO

COMMAND = "python -m sextant.cli.consolidate"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the file.

    Args:
        arguments: the words of the command line after the command; those of this process if None.

    Raises:
        InputError: there is no such folder, it is damaged, or the file exists.
    """
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        description="Turn a checkpoint that TorchRecStrategy wrote, a folder, into one file of plain tensors. It holds "
        "what a run without sharding would have written, and can be gone on with by any strategy. All tables have to "
        "fit into memory.",
    )
    parser.add_argument("folder", type=Path, help="the checkpoint, such as logs/.../checkpoints/last.ckpt")
    parser.add_argument("file", type=Path, help="the file to write; it must not exist")
    options = parser.parse_args(arguments)
    take_back(options.folder)
    if not options.folder.is_dir():
        raise InputError(f"{options.folder}: there is no such folder. Checkpoints of TorchRecStrategy are folders.")
    if options.file.exists():
        raise InputError(f"{options.file}: it exists. Remove it, or give another name.")
    io = AtomicCheckpointIO()
    io.save_checkpoint(io.load_checkpoint(options.folder), options.file)
    print(f"{options.file}: {options.file.stat().st_size / 2**20:,.1f} MB")


if __name__ == "__main__":
    run_command(main, "nothing was written")
