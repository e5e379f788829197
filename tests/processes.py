"""Work in a process of its own, which may be killed or find its disk full."""

import contextlib
import multiprocessing
import os
import resource
from collections.abc import Callable


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
