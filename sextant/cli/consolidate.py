"""The command that turns a checkpoint of sharded tables, a folder, into one file."""

from sextant.checkpoint_files import restore_interrupted
from sextant.errors import InputError
from sextant.files.location import local_path
from sextant.resume.checkpoint_io import AtomicCheckpointIO


def consolidate(checkpoint: str, output: str) -> None:
    """Turn a checkpoint of sharded tables, a folder, into one file of plain tensors.

    The file holds what a run without sharding would have written, so any strategy can resume from it. It needs no
    configuration; all tables have to fit into memory.

    Args:
        checkpoint: the folder that TorchRecStrategy wrote, such as logs/NAME/version_0/checkpoints/last.ckpt.
        output: the file to write, which must not exist.

    Raises:
        InputError: there is no such folder, it is a file, it is damaged, or the output exists.
    """
    folder, file = local_path(checkpoint, "checkpoint"), local_path(output, "output")
    restore_interrupted(folder)
    if folder.is_file():
        raise InputError(f"{folder}: it is one file already. Use it as it is, in any run.")
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder. Checkpoints of TorchRecStrategy are folders.")
    if file.exists():
        raise InputError(f"{file}: it exists. Remove it, or give another name.")
    io = AtomicCheckpointIO()
    io.save_checkpoint(io.load_checkpoint(folder), file)
    print(f"{file}: {file.stat().st_size / 2**20:,.1f} MB")
