"""Checkpoints of sharded tables: a folder that can be read with any number of processes and any plan.

``checkpoint.ckpt`` in it is the checkpoint as Lightning has it, without the tables; ``tables`` has these, written by
all processes through ``torch.distributed.checkpoint``.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard
from torchrec.distributed.shards_wrapper import LocalShardsWrapper

from sextant.checkpoint_files import MAIN_FILE
from sextant.errors import InputError
from sextant.strategies.sharded_tables import LocalTable, StateKind
from sextant.strategies.tensor_files import DataWriter, load_tensors, tensor_sizes

TABLES = "tables"
STATE = ".sum"  # behind the name of a table: the state of its optimizer, which is a sum for both kinds of Adagrad

#: Rectangles of a table, each with its first row and column.
Rectangles = Sequence[tuple[tuple[int, int], Tensor]]


@dataclass(frozen=True)
class SavedTable:
    """What a checkpoint says of a table.

    Args:
        rows: of the table.
        dim: its columns.
        columns: where the columns were split: the first column of each part, ascending.
        state_kind: what its optimizer kept: ``cells``, (rows, dim); ``rows``, (rows, parts); or ``none``.
    """

    rows: int
    dim: int
    columns: list[int]
    state_kind: StateKind

    @staticmethod
    def of(table: LocalTable) -> "SavedTable":
        """What is said of a table when it is written."""
        config = table.whole.config
        return SavedTable(config.num_embeddings, config.embedding_dim, table.columns, table.whole.state_kind)

    @staticmethod
    def from_checkpoint(entry: Mapping[str, Any]) -> "SavedTable":
        """Read what :meth:`to_checkpoint` made."""
        return SavedTable(entry["rows"], entry["dim"], entry["columns"], entry["sums"])

    def to_checkpoint(self) -> dict[str, Any]:
        """As plain values."""
        return {"rows": self.rows, "dim": self.dim, "columns": self.columns, "sums": self.state_kind}

    @property
    def edges(self) -> list[int]:
        """The columns at which parts begin and end."""
        return [*self.columns, self.dim]

    @property
    def state_width(self) -> int:
        """Columns of the optimizer's state."""
        return len(self.columns) if self.state_kind == "rows" else self.dim


def saved_tables(path: Path, checkpoint: Mapping[str, Any]) -> dict[str, SavedTable]:
    """What a checkpoint says of its tables, by name.

    Args:
        path: the folder, for the message.
        checkpoint: what its main file holds.

    Raises:
        InputError: it says nothing, or not what a table is.
    """
    try:
        return {name: SavedTable.from_checkpoint(entry) for name, entry in checkpoint[TABLES].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: {MAIN_FILE} does not say what tables there are. Give a checkpoint of a run with TorchRecStrategy."
        ) from error


def check_tables(path: Path, checkpoint: Mapping[str, Any]) -> dict[str, SavedTable]:
    """What a checkpoint says of its tables, by name, once it is sure that their files are there and say the same.

    The values are not read: they are verified when they are loaded.

    Args:
        path: the folder.
        checkpoint: what its main file holds.

    Raises:
        InputError: a file is missing, cut short or one too many, or they do not belong together.
    """
    tables = saved_tables(path, checkpoint)
    if not tables:
        return tables
    sizes = tensor_sizes(path / TABLES)
    for name, table in tables.items():
        wanted = {name: (table.rows, table.dim)}
        if table.state_kind != "none":
            wanted[name + STATE] = (table.rows, table.state_width)
        for key, size in wanted.items():
            if sizes.get(key) != size:
                raise InputError(
                    f"{path}: by {MAIN_FILE} the size of {key} is {size}, by its files {sizes.get(key)}. The folder is "
                    "damaged; use another checkpoint."
                )
    return tables


def distributed(shape: tuple[int, int], rectangles: Rectangles, mesh: DeviceMesh) -> DTensor:
    """A tensor of which this process has some rectangles, on the device of the mesh."""
    assert all(part.device.type == mesh.device_type for _, part in rectangles)
    wrapper: Any = LocalShardsWrapper([part for _, part in rectangles], [offset for offset, _ in rectangles])
    # How the rectangles lie is said by their offsets; the placement is not looked at.
    return DTensor.from_local(
        wrapper, mesh, (Shard(0),), run_check=False, shape=torch.Size(shape), stride=(shape[1], 1)
    )


def save_tables(
    folder: Path,
    tables: Sequence[LocalTable],
    replicated_state: Mapping[str, Tensor],
    mesh: DeviceMesh,
    background: ProcessGroup | None,
) -> "Future[Any] | None":
    """Write the tables; all processes call it together.

    Args:
        folder: to write into.
        tables: what this process holds.
        replicated_state: of the optimizers of replicated tables, by name.
        mesh: of all processes.
        background: to write in the background, a process group that nothing else uses. The values are those of now:
            torch copies them into the host's memory before this function returns.

    Returns:
        What is done when the folder is whole, if it is written in the background.
    """
    state: dict[str, Any] = {}
    for table in tables:
        name, about = table.whole.name, SavedTable.of(table)
        by_rows = about.state_kind == "rows"
        if table.plan.replicated:
            state[name] = table.shards[0].weight.detach()
            if about.state_kind != "none":
                # Before the first step there is no state yet.
                zeros = torch.zeros(about.rows, about.state_width)
                state[name + STATE] = replicated_state.get(name, zeros).detach()
            continue
        weights = [((s.row, s.column), s.weight.detach()) for s in table.shards]
        state[name] = distributed((about.rows, about.dim), weights, mesh)
        if about.state_kind != "none":
            kept = [
                ((s.row, table.columns.index(s.column) if by_rows else s.column), s.state.detach())
                for s in table.shards
                if s.state is not None
            ]
            state[name + STATE] = distributed((about.rows, about.state_width), kept, mesh)
    if background is None:
        dcp.save(state, storage_writer=DataWriter(folder))
        return None
    future: Any = dcp.async_save(state, storage_writer=DataWriter(folder), process_group=background)
    return cast("Future[Any]", future)


def read_whole(path: Path, checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Read a checkpoint of sharded tables in one process, as one of a run without sharding.

    Args:
        path: the folder.
        checkpoint: what its main file holds.

    Raises:
        InputError: it cannot be read.
    """
    state: dict[str, Tensor] = {}
    tables = check_tables(path, checkpoint)
    del checkpoint[TABLES]
    for name, table in tables.items():
        state[name] = torch.empty(table.rows, table.dim)
        if table.state_kind != "none":
            state[name + STATE] = torch.empty(table.rows, table.state_width)
    load_tensors(state, path / TABLES, alone=True)
    for name, table in tables.items():
        checkpoint["state_dict"][name] = state[name]
        if table.state_kind == "none":
            continue
        kept = state[name + STATE]
        if table.state_kind == "rows":
            kept = mean_of_parts(kept, table.edges)
        for optimizer in checkpoint.get("optimizer_states", []):
            optimizer["state"][name] = adagrad_state(kept, checkpoint["global_step"])
    return checkpoint


def mean_of_parts(parts: Tensor, edges: Sequence[int]) -> Tensor:
    """Row-wise Adagrad's state of whole rows (rows, 1) from that of parts of their columns (rows, parts).

    It is a mean over columns, so that of several parts is their mean by width.

    Args:
        parts: the state.
        edges: the columns at which the parts begin and end.
    """
    widths = torch.tensor([b - a for a, b in pairwise(edges)], device=parts.device)
    return (parts * (widths / widths.sum())).sum(1, keepdim=True)


def adagrad_state(kept: Tensor, step: int) -> dict[str, Tensor]:
    """The state of a table in Adagrad, or in the row-wise one, which does not heed the step."""
    return {"sum": kept, "step": torch.tensor(float(step))}
