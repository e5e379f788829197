"""Folders of sharded tables, written by all processes together, at once or in the background."""

import shutil
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from lightning.pytorch.strategies import ParallelStrategy
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from sextant.checkpoint_files import MAIN_FILE, replace_atomically
from sextant.errors import InputError
from sextant.strategies.sharded_checkpoint import TABLES, SavedTable, save_tables
from sextant.strategies.sharded_tables import LocalTable
from sextant.strategies.tensor_files import reason


class CheckpointWriter:
    """Write checkpoints of sharded tables; all processes call each method together, but for :meth:`rescue`.

    A checkpoint is written into a hidden folder, which gets its name when it is whole.

    Args:
        strategy: by which the processes agree.
        in_background: return as soon as the tables are copied into the host's memory.
        timeout: how long a process waits for the others in the background.
    """

    def __init__(self, strategy: ParallelStrategy, in_background: bool, timeout: timedelta) -> None:
        self._strategy = strategy
        self._in_background = in_background
        self._timeout = timeout
        self._group: Any = None  # for what is written in the background
        self._unfinished: tuple[Future[Any], Path] | None = None  # what is waited for, and the checkpoint's name

    def write(
        self,
        path: Path,
        checkpoint: dict[str, Any],
        tables: Sequence[LocalTable],
        replicated_state: Mapping[str, Tensor],
        mesh: DeviceMesh,
        storage_options: Any | None,
    ) -> None:
        """Write a checkpoint.

        Args:
            path: the folder.
            checkpoint: everything but the tables.
            tables: what this process holds.
            replicated_state: of the optimizers of replicated tables, by name.
            mesh: of all processes.
            storage_options: for the file of everything but the tables.

        Raises:
            InputError: it cannot be written, or not all processes see the folder.
        """
        self.finish()
        strategy, part = self._strategy, _part(path)
        if strategy.is_global_zero:
            shutil.rmtree(part, ignore_errors=True)  # of a run that was killed
            part.mkdir(parents=True)
            saved = {TABLES: {table.whole.name: SavedTable.of(table).to_checkpoint() for table in tables}}
            strategy.checkpoint_io.save_checkpoint(checkpoint | saved, part / MAIN_FILE, storage_options)
        strategy.barrier("checkpoint folder")
        if not strategy.reduce_boolean_decision((part / MAIN_FILE).is_file(), all=True):
            raise InputError(
                f"{path}: not every process sees this folder, and what it writes would be lost. On several nodes give "
                "a folder that all share, with --trainer.logger.save_dir."
            )
        if self._in_background and self._group is None:
            self._group = dist.new_group(backend="gloo", timeout=self._timeout)
        with _naming(path):
            future = save_tables(part / TABLES, tables, replicated_state, mesh, self._group)
        if future is not None:
            self._unfinished = future, path
            return
        if strategy.is_global_zero:
            replace_atomically(part, path)
        strategy.barrier("checkpoint in place")

    def finish(self) -> None:
        """Wait until the checkpoint that is written in the background is whole, and give it its name."""
        if self._unfinished is not None:
            self._give_name()
            self._strategy.barrier("checkpoint in place")

    def rescue(self) -> None:
        """Finish as far as this process can by itself, where the others may be gone; say so if it cannot."""
        if self._unfinished is None:
            return
        path = self._unfinished[1]
        try:
            self._give_name()
        except Exception as error:
            print(f"{path}: the checkpoint could not be finished ({error}). The one before it is as it was.")

    def _give_name(self) -> None:
        assert self._unfinished is not None
        (future, path), self._unfinished = self._unfinished, None
        with _naming(path):
            future.result()  # on the first process, that is when all have written
        if self._strategy.is_global_zero:
            replace_atomically(_part(path), path)


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


@contextmanager
def _naming(path: Path) -> Generator[None, None, None]:
    """Say which checkpoint could not be written, where one could not, for instance because the disk is full."""
    try:
        yield
    except (dcp.CheckpointException, OSError) as error:
        kept = "The previous one of that name is as it was." if path.exists() else "There is none of that name."
        raise InputError(
            f"{path}: the tables of the checkpoint could not be written ({reason(error)}). {kept} Free some space and "
            "resume."
        ) from error
