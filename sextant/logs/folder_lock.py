"""A lock on a run's folder, so that a run is trained by one command at a time."""

import errno
import fcntl
import os
import platform
from pathlib import Path
from typing import IO

from sextant.errors import InputError

FILE = ".lock"


def lock_folder(folder: Path) -> IO[str] | None:
    """Lock the folder of a run for this process, until it ends, however it does, or the file is closed.

    The processes that it forks do not have the lock. Some file systems know no locks; there it is not taken.

    Args:
        folder: of the run.

    Returns:
        The file that has the lock; None if it was not taken.

    Raises:
        InputError: another process has it.
    """
    try:
        file = (folder / FILE).open("a+", encoding="utf-8")
    except OSError:  # of which what is written next tells
        return None
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            return None
        file.seek(0)
        owner = file.read().strip() or "another process"
        raise InputError(
            f"{folder}: {owner} trains this run at the moment. Wait for it, stop it, or begin another run, without "
            "--ckpt_path."
        ) from error
    file.truncate(0)
    file.write(f"process {os.getpid()} on {platform.node()}")
    file.flush()
    return file
