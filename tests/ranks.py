"""Processes that find each other once, and then run one function after the other together."""

import multiprocessing
import os
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

_context = multiprocessing.get_context("fork")  # which has imported what the tests have


def start_ranks(
    function: Callable[..., None], arguments: Sequence[Sequence[Any]], log: Path, num_nodes: int = 1
) -> list[ForkProcess]:
    """Start a function in several processes, which know of each other as under torchrun.

    Args:
        function: runs in each process, with one thread.
        arguments: for each process, ordered by node.
        log: the file for their output.
        num_nodes: how many nodes they pretend to be on.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for i, own in enumerate(arguments):
        node, rank = divmod(i, len(arguments) // num_nodes)
        environment = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "NODE_RANK": str(node),
            "LOCAL_RANK": str(rank),
        }
        process = _context.Process(target=_work, args=(function, own, environment, log), daemon=True)
        process.start()
        processes.append(process)
    return processes


def _work(function: Callable[..., None], arguments: Sequence[Any], environment: dict[str, str], log: Path) -> None:
    os.environ.update(environment)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.stdout = sys.stderr = os.fdopen(out, "w", buffering=1)  # in place of pytest's
    try:
        function(*arguments)
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # not to wait for the others


class Ranks:
    """Processes that stay, so that only the first function waits until they have found each other.

    Args:
        count: of all nodes.
        log: the file for their output.
        num_nodes: how many nodes they pretend to be on.
    """

    def __init__(self, count: int, log: Path, num_nodes: int = 1) -> None:
        self._log = log
        pipes = [_context.Pipe() for _ in range(count)]
        self._connections = [ours for ours, _ in pipes]
        self._processes = start_ranks(_serve, [(theirs,) for _, theirs in pipes], log, num_nodes)

    def run(self, function: Callable[..., None], *arguments: Any, timeout: float = 120) -> None:
        """Run a function in all processes, and wait for it.

        Raises:
            AssertionError: it failed in one of them; the message has their output.
        """
        for connection in self._connections:
            connection.send((function, arguments))
        for connection in self._connections:
            try:
                assert connection.poll(timeout)
                connection.recv()
            except (AssertionError, EOFError, ConnectionError) as error:
                self.close()
                raise AssertionError(f"{function.__name__} failed:\n{self._log.read_text()}") from error

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.kill()
            process.join()

    @property
    def alive(self) -> bool:
        """Whether they can be given something to do."""
        return all(process.is_alive() for process in self._processes)


def _serve(connection: Connection) -> None:
    while True:
        function, arguments = connection.recv()
        function(*arguments)
        connection.send(None)
