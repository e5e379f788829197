"""Checkpoints of sharded tables: a folder that can be read with any number of processes and any plan.

``checkpoint.ckpt`` in it is the checkpoint as Lightning has it, without the tables; ``tables`` has these, written by
all processes through ``torch.distributed.checkpoint``.
"""

import io
import pickle
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard
from torchrec.distributed.shards_wrapper import LocalShardsWrapper
from typing_extensions import override

from sextant.errors import InputError
from sextant.strategies.sharded_tables import LocalTable

TABLES = "tables"
SUMS = ".sum"  # behind the name of a table: what its Adagrad has summed up


@dataclass(frozen=True)
class SavedTable:
    """What a checkpoint says of a table.

    Args:
        rows: of the table.
        dim: its columns.
        columns: where the columns were cut: the first column of each part, ascending.
        sums: what Adagrad summed up: ``cells``, (rows, dim); ``rows``, (rows, parts); or ``none``.
    """

    rows: int
    dim: int
    columns: list[int]
    sums: str

    @property
    def edges(self) -> list[int]:
        """The columns at which parts begin and end."""
        return [*self.columns, self.dim]


class _MetadataUnpickler(pickle.Unpickler):
    """Reads what ``torch.distributed.checkpoint`` says of its files, and runs no code."""

    ALLOWED: ClassVar[dict[str, set[str]]] = {
        "torch": {"Size"},
        "torch.serialization": {"_get_layout"},
        "pathlib": {"PosixPath", "Path"},
        "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
        "torch.distributed.checkpoint.metadata": {
            *("Metadata", "MetadataIndex", "StorageMeta", "TensorStorageMetadata", "ChunkStorageMetadata"),
            *("TensorProperties", "_MEM_FORMAT_ENCODING"),
        },
    }

    @override
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if module_name == "torch" and isinstance(getattr(torch, global_name, None), torch.dtype):
            return getattr(torch, global_name)
        if (module_name, global_name) == ("builtins", "getattr"):
            return _member
        if global_name not in self.ALLOWED.get(module_name, ()):
            raise pickle.UnpicklingError(f"it refers to {module_name}.{global_name}, which could run code")
        return super().find_class(module_name, global_name)


def _member(enumeration: Any, name: str) -> Enum:
    """A member of an enumeration, which some versions of Python pickle as an attribute."""
    if not (isinstance(enumeration, type) and issubclass(enumeration, Enum)):
        raise pickle.UnpicklingError("it refers to an attribute, which could run code")
    return enumeration[name]


class _DataReader(dcp.FileSystemReader):
    """Reads tensors only: the metadata of ``torch.distributed.checkpoint`` is a pickle that may hold anything."""

    @override
    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        metadata = _MetadataUnpickler(io.BytesIO((Path(self.path) / ".metadata").read_bytes())).load()
        if not isinstance(metadata, Metadata):
            raise pickle.UnpicklingError(f"its metadata is a {type(metadata).__name__}")
        return metadata


def describe(table: LocalTable) -> dict[str, Any]:
    """What a checkpoint says of a table, as plain values for :class:`SavedTable`."""
    config = table.whole.config
    return {
        "rows": config.num_embeddings,
        "dim": config.embedding_dim,
        "columns": table.columns,
        "sums": table.whole.sums,
    }


def _distributed(shape: Sequence[int], pieces: Sequence[tuple[tuple[int, int], Tensor]], mesh: DeviceMesh) -> DTensor:
    """A tensor of which this process has some rectangles, given by their offsets, on the device of the mesh."""
    assert all(piece.device.type == mesh.device_type for _, piece in pieces)
    wrapper: Any = LocalShardsWrapper([piece for _, piece in pieces], [offset for offset, _ in pieces])
    # How the rectangles lie is said by their offsets; the placement is not looked at.
    return DTensor.from_local(
        wrapper, mesh, (Shard(0),), run_check=False, shape=torch.Size(shape), stride=(shape[1], 1)
    )


def save_tables(
    folder: Path,
    tables: Sequence[LocalTable],
    sums_of_copies: Mapping[str, Tensor],
    mesh: DeviceMesh,
    background: ProcessGroup | None,
) -> "Future[Any] | None":
    """Write the tables; all processes call it together.

    Args:
        folder: to write into.
        tables: what this process holds.
        sums_of_copies: the sums of the tables of which each process has a copy.
        mesh: of all processes.
        background: to write in the background, a process group that nothing else uses. The values are those of now:
            torch copies them into the host's memory before this function returns.

    Returns:
        What is done when the folder is whole, if it is written in the background.
    """
    state: dict[str, Any] = {}
    for table in tables:
        name, config = table.whole.name, table.whole.config
        rows, dim = config.num_embeddings, config.embedding_dim
        by_rows = table.whole.sums == "rows"
        if table.copied:
            state[name] = table.shards[0].weight.detach()
            if table.whole.sums != "none":
                # Before the first step there is no state yet.
                zeros = torch.zeros(rows, 1 if by_rows else dim)
                state[name + SUMS] = sums_of_copies.get(name, zeros).detach()
            continue
        weights = [((s.row, s.column), s.weight.detach()) for s in table.shards]
        state[name] = _distributed((rows, dim), weights, mesh)
        if table.whole.sums == "none":
            continue
        width = len(table.columns) if by_rows else dim
        sums = [
            ((s.row, table.columns.index(s.column) if by_rows else s.column), s.sums.detach())
            for s in table.shards
            if s.sums is not None
        ]
        state[name + SUMS] = _distributed((rows, width), sums, mesh)
    if background is None:
        dcp.save(state, checkpoint_id=folder)
        return None
    future: Any = dcp.async_save(state, checkpoint_id=folder, process_group=background)
    return future


class TableReader:
    """Read the tables of a checkpoint into the shards of this process, however they were cut.

    Args:
        path: the checkpoint: a folder, or a file of a run without sharding.
        checkpoint: what ``checkpoint.ckpt`` or the file holds. The tables of a file are taken out of it.
        names: of the parameters that are tables.
        reset: begin with sums of 0 where those of the checkpoint cannot be carried over.
    """

    def __init__(self, path: Path, checkpoint: dict[str, Any], names: Sequence[str], reset: bool) -> None:
        self.path = path
        self._reset = reset
        self._values: dict[str, Tensor] | None = None
        saved: dict[str, Any] = checkpoint.get(TABLES, {})
        if path.is_file():
            saved, self._values = {}, {}
            for name in names:
                weight = checkpoint["state_dict"].pop(name, None)
                if weight is None:
                    continue
                states = [state["state"].pop(name, {}) for state in checkpoint.get("optimizer_states", [])]
                sums = next((state["sum"] for state in states if "sum" in state), None)
                self._values[name] = weight
                if sums is not None:
                    self._values[name + SUMS] = sums
                kind = "none" if sums is None else "cells" if sums.shape == weight.shape else "rows"
                saved[name] = {"rows": len(weight), "dim": weight.shape[1], "columns": [0], "sums": kind}
        self._saved = {name: SavedTable(**about) for name, about in saved.items()}

    def read(self, tables: Sequence[LocalTable], mesh: DeviceMesh, optimizer: bool) -> dict[str, Tensor]:
        """Read into the shards in place; all processes call it together.

        Args:
            tables: what this process holds.
            mesh: of all processes.
            optimizer: whether the sums are read too.

        Returns:
            The sums of the tables of which each process has a copy, by their names.

        Raises:
            InputError: a table is missing or has another size, or its sums cannot be carried over.
        """
        state: dict[str, Any] = {}
        later: list[Callable[[], None]] = []
        copies: dict[str, Tensor] = {}
        for table in tables:
            saved = self._checked(table)
            weights = [((s.row, s.column), s.weight.detach()) for s in table.shards]
            name, kind = table.whole.name, table.whole.sums
            state[name] = self._template((saved.rows, saved.dim), weights, table.copied, mesh)
            if not optimizer or (kind == "none" and saved.sums == "none"):
                continue
            if not self._carried_over(table, saved):
                for shard in table.shards:
                    if shard.sums is not None:
                        shard.sums.zero_()
                continue
            pieces = []
            width = len(saved.columns) if kind == "rows" else saved.dim
            if table.copied:
                copies[name] = torch.empty(saved.rows, 1 if kind == "rows" else saved.dim)
            for shard in table.shards:
                target = copies[name] if table.copied else shard.sums
                assert target is not None
                first, last = shard.column, shard.column + shard.weight.shape[1]
                if kind == "rows":
                    first, last = saved.edges.index(first), saved.edges.index(last)
                    edges = saved.edges[first : last + 1]
                    # What is read into must be where the mesh is: elsewhere it would be copied, and stay empty.
                    read = torch.empty(len(target), last - first, device=target.device)
                    widths = torch.tensor([b - a for a, b in pairwise(edges)], device=target.device)
                    later.append(partial(_merge, target, read, widths))
                else:
                    read = target
                pieces.append(((shard.row, first), read))
            state[name + SUMS] = self._template((saved.rows, width), pieces, table.copied, mesh)
        self._load(state)
        for act in later:
            act()
        return copies

    def _template(
        self, shape: Sequence[int], pieces: Sequence[tuple[tuple[int, int], Tensor]], copied: bool, mesh: DeviceMesh
    ) -> Any:
        if self._values is not None:
            return pieces
        return pieces[0][1] if copied else _distributed(shape, pieces, mesh)

    def _load(self, state: dict[str, Any]) -> None:
        if self._values is None:
            try:
                dcp.load(state, storage_reader=_DataReader(self.path / TABLES))
            except (dcp.CheckpointException, OSError, RuntimeError) as error:
                raise InputError(
                    f"{self.path}: its tables cannot be read ({_reason(error)}). The folder is damaged; use another "
                    "checkpoint."
                ) from error
            return
        for name, pieces in state.items():
            for (row, column), piece in pieces:
                rows, columns = piece.shape
                piece.copy_(self._values[name][row : row + rows, column : column + columns])

    def _checked(self, table: LocalTable) -> SavedTable:
        name, config = table.whole.name, table.whole.config
        saved = self._saved.get(name)
        if saved is None:
            raise InputError(f"{self.path}: the checkpoint has no table {name}, which the model has.")
        size = (config.num_embeddings, config.embedding_dim)
        if (saved.rows, saved.dim) != size:
            raise InputError(
                f"{self.path}: the checkpoint's table {name} is {saved.rows:,} x {saved.dim}, the model's is "
                f"{size[0]:,} x {size[1]}."
            )
        return saved

    def _carried_over(self, table: LocalTable, saved: SavedTable) -> bool:
        """Whether the sums can be; if not, and they are not to be reset, that is an error."""
        kind = table.whole.sums
        cuts = [*table.columns, saved.dim]
        if kind == saved.sums and (kind != "rows" or set(cuts) <= set(saved.edges)):
            return True
        if self._reset:
            return False
        if kind != saved.sums:
            why = f"the checkpoint has sums of {saved.sums}, and the sparse optimizer of this run sums {kind}"
        else:
            why = (
                f"row-wise Adagrad has one sum a row for each part of the columns; the checkpoint's parts begin at "
                f"{saved.columns}, those of this plan at {table.columns}"
            )
        raise InputError(
            f"{self.path}: the state of the optimizer of table {table.whole.name} cannot be carried over: {why}. Use a "
            "plan that cuts its columns as before or not at all, or drop that state with "
            "--trainer.strategy.init_args.reset_sums=true."
        )


def _merge(target: Tensor, parts: Tensor, widths: Tensor) -> None:
    """The sum over a row is the mean over its columns, so that of several parts is their mean by width."""
    target.copy_((parts * (widths / widths.sum())).sum(1, keepdim=True))


def _reason(error: BaseException) -> str:
    """The first line of an error that says something, also where several processes had one."""
    if isinstance(error, dcp.CheckpointException) and error.failures:
        error = next(iter(error.failures.values()))[0]
    return (str(error).strip() or type(error).__name__).split("\n")[0]


@contextmanager
def naming(path: Path) -> Generator[None, None, None]:
    """Say which checkpoint could not be written, where one could not.

    Raises:
        InputError: for instance because the disk is full.
    """
    try:
        yield
    except (dcp.CheckpointException, OSError) as error:
        kept = "The previous one of that name is as it was." if path.exists() else "There is none of that name."
        raise InputError(
            f"{path}: the tables of the checkpoint could not be written ({_reason(error)}). {kept} Free some space and "
            "resume."
        ) from error


def read_whole(path: Path, checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Read a checkpoint of sharded tables in one process, as one of a run without sharding.

    Args:
        path: the folder.
        checkpoint: what its main file holds.

    Raises:
        InputError: it cannot be read.
    """
    state: dict[str, Tensor] = {}
    tables = {name: SavedTable(**about) for name, about in checkpoint.pop(TABLES).items()}
    for name, table in tables.items():
        state[name] = torch.empty(table.rows, table.dim)
        if table.sums != "none":
            state[name + SUMS] = torch.empty(table.rows, len(table.columns) if table.sums == "rows" else table.dim)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*torch.distributed is disabled.*")  # which is as intended
            dcp.load(state, storage_reader=_DataReader(path / TABLES), no_dist=True)
    except (dcp.CheckpointException, OSError, RuntimeError) as error:
        raise InputError(
            f"{path}: its tables cannot be read ({_reason(error)}). The folder is damaged; use another checkpoint."
        ) from error
    for name, table in tables.items():
        checkpoint["state_dict"][name] = state[name]
        if table.sums == "none":
            continue
        sums = state[name + SUMS]
        if table.sums == "rows" and len(table.columns) > 1:
            whole = torch.empty(table.rows, 1)
            _merge(whole, sums, torch.tensor([b - a for a, b in pairwise(table.edges)]))
            sums = whole
        for optimizer in checkpoint.get("optimizer_states", []):
            optimizer["state"][name] = state_of_sums(sums, checkpoint["global_step"])
    return checkpoint


def state_of_sums(sums: Tensor, step: int) -> dict[str, Tensor]:
    """The state of a table in Adagrad, or in the row-wise one, which does not heed the step."""
    return {"sum": sums, "step": torch.tensor(float(step))}
