"""What several tests of the DataModules need: looks at folders, and faults that need a process of their own."""

import contextlib
import multiprocessing
import os
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image


def listing(folder: Path) -> list[str]:
    """Everything under a folder, hidden or not, without the lock files."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix != ".lock")


def snapshot(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Mode, length and time of change of a folder and of everything under it."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        stat = path.lstat()
        found[str(path.relative_to(folder))] = (stat.st_mode, stat.st_size, stat.st_mtime_ns)
    return found


def noise(seed: int, *shape: int) -> np.ndarray:
    """Random uint8 pixels, the same for the same seed."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save_images(folder: Path, count: int, suffix: str = "JPEG") -> list[Path]:
    """Write ``count`` different RGB images of 64x64 pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"image_{k}.{suffix}" for k in range(count)]
    for k, file in enumerate(files):
        Image.fromarray(noise(k, 64, 64, 3)).save(file)
    return files


def cut_in_half(file: Path) -> None:
    """Leave the first half of a file, as a download that broke off does."""
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def in_fork(work: Callable[[], object], largest_file: int | None = None) -> tuple[int | None, BaseException | None]:
    """Run ``work`` in a fork of this process.

    Args:
        work: what to do there.
        largest_file: bytes after which a write to a file fails, as it does on a full disk.

    Returns:
        The exit code, which is minus the signal for a killed process, and what ``work`` raised.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def child() -> None:
        # pytest's capture files are files too, and may be longer than the limit.
        with open(os.devnull, "w") as null, contextlib.redirect_stdout(null), contextlib.redirect_stderr(null):  # noqa: PTH123
            try:
                if largest_file is not None:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
                work()
            except BaseException as error:
                sender.send(error)
            else:
                sender.send(None)

    process = context.Process(target=child)
    process.start()
    sender.close()
    try:
        raised = receiver.recv()
    except EOFError:  # it was killed
        raised = None
    process.join()
    return process.exitcode, raised
