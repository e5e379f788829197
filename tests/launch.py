"""Run commands of train.py in processes of their own, without the ten seconds that importing Lightning takes.

Each is a fork of the process of the tests, which has imported everything, and computes in one thread.
"""

import importlib
import logging
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Sequence
from multiprocessing.context import ForkProcess
from pathlib import Path

_context = multiprocessing.get_context("fork")


def _command(args: list[str], environment: dict[str, str], folder: str, log: str | None) -> None:
    os.chdir(folder)
    os.environ.update(environment)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):  # the tests may run under nohup
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if log is not None:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.stdout = sys.stderr = os.fdopen(out, "w", buffering=1)  # in place of pytest's
        for logger in [logging.getLogger(name) for name in logging.root.manager.loggerDict]:
            for handler in logger.handlers:
                if type(handler) is logging.StreamHandler:
                    handler.stream = sys.stderr  # what it was before may be closed
    sys.argv = ["train.py"]
    from sextant.cli.command import run_command
    from train import main

    run_command(lambda: main(args), "what was finished is whole")


def start(
    args: Sequence[str | Path], folder: Path, environment: dict[str, str] | None = None, log: Path | None = None
) -> ForkProcess:
    """Start a command in ``folder``; its output goes to the file ``log``."""
    # Imported here, no fork has to.
    for name in ("sextant.cli.cli", "callbacks.batch_length_finder", "torchvision", "torch._dynamo"):
        importlib.import_module(name)
    process = _context.Process(
        target=_command, args=([str(arg) for arg in args], environment or {}, str(folder), str(log) if log else None)
    )
    process.start()
    return process


def start_ranks(
    args: Sequence[str | Path],
    folder: Path,
    world_size: int,
    log: Path,
    strategy: str = "ddp",
    environment: dict[str, str] | None = None,
) -> list[ForkProcess]:
    """Start a command as ``world_size`` processes that find each other as under torchrun."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = (environment or {}) | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(world_size),
    }
    if strategy == "TorchRecStrategy":
        importlib.import_module("sextant.strategies.torchrec")
    ranks = [f"--trainer.strategy={strategy}", f"--trainer.devices={world_size}"]
    return [
        start([*args, *ranks], folder, shared | {"LOCAL_RANK": str(rank), "NODE_RANK": "0"}, log)
        for rank in range(world_size)
    ]


def finish(processes: Sequence[ForkProcess], log: Path, timeout: float = 300) -> None:
    """Wait for processes and fail, with their output, unless all end well."""
    for process in processes:
        process.join(timeout)
    codes = [process.exitcode for process in processes]
    if any(codes):
        for process in processes:
            process.kill()
        raise AssertionError(f"exit codes {codes}:\n{log.read_text()}")
