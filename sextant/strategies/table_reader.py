"""The tables of a checkpoint, read into the shards of this process however they were sharded."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from sextant.errors import InputError
from sextant.files.location import Location
from sextant.strategies.sharded_checkpoint import (
    STATE,
    TABLES,
    Rectangles,
    SavedTable,
    distributed,
    mean_of_parts,
    saved_tables,
)
from sextant.strategies.sharded_tables import LocalTable, StateKind
from sextant.strategies.tensor_files import load_tensors


class TableReader:
    """Read the tables of a checkpoint into the shards of this process, however they were sharded.

    Args:
        path: the checkpoint: a folder, or a file of a run without sharding.
        checkpoint: what ``checkpoint.ckpt`` or the file holds. The tables of a file are taken out of it.
        names: of the parameters that are tables.
        reset_optimizer_state: start with zeros where the optimizer's state of the checkpoint does not fit.
    """

    def __init__(
        self, path: Location, checkpoint: dict[str, Any], names: Sequence[str], reset_optimizer_state: bool
    ) -> None:
        self.path = path
        self._reset = reset_optimizer_state
        self._values: dict[str, Tensor] | None = None  # of a file
        if isinstance(path, Path) and path.is_dir():
            self._saved = saved_tables(path, checkpoint)
        else:
            self._values = {}
            self._saved = {name: self._take_out(name, checkpoint) for name in names if name in checkpoint["state_dict"]}

    def _take_out(self, name: str, checkpoint: dict[str, Any]) -> SavedTable:
        """Take a table, with its optimizer's state, out of a checkpoint without sharding."""
        assert self._values is not None
        weight: Tensor = checkpoint["state_dict"].pop(name)
        states = [optimizer["state"].pop(name, {}) for optimizer in checkpoint.get("optimizer_states", [])]
        kept = next((state["sum"] for state in states if "sum" in state), None)
        self._values[name] = weight
        kind: StateKind = "none"
        if kept is not None:
            self._values[name + STATE] = kept
            kind = "cells" if kept.shape == weight.shape else "rows"
        return SavedTable(len(weight), weight.shape[1], [0], kind)

    def read(self, tables: Sequence[LocalTable], mesh: DeviceMesh, optimizer: bool) -> dict[str, Tensor]:
        """Read into the shards in place; all processes call it together.

        Args:
            tables: what this process holds.
            mesh: of all processes.
            optimizer: whether the optimizer's state is read too.

        Returns:
            The state of the optimizers of replicated tables, by name.

        Raises:
            InputError: a table is missing or has another size, or the state does not fit.
        """
        state: dict[str, Any] = {}
        merges: list[Callable[[], None]] = []
        replicated: dict[str, Tensor] = {}
        for table in tables:
            name, kind, saved = table.whole.name, table.whole.state_kind, self._checked(table)
            weights = [((s.row, s.column), s.weight.detach()) for s in table.shards]
            state[name] = self._target(table, (saved.rows, saved.dim), weights, mesh)
            if not optimizer or (kind == "none" and saved.state_kind == "none"):
                continue
            if not self._fits(table, saved):
                for shard in table.shards:
                    if shard.state is not None:
                        shard.state.zero_()
                continue
            targets = [shard.state for shard in table.shards]
            if table.plan.replicated:
                replicated[name] = torch.empty(saved.rows, 1 if kind == "rows" else saved.dim)
                targets = [replicated[name]]
            parts = self._parts_of_state(table, saved, targets, merges)
            state[name + STATE] = self._target(table, (saved.rows, saved.state_width), parts, mesh)
        self._load(state)
        for merge in merges:
            merge()
        return replicated

    @staticmethod
    def _parts_of_state(
        table: LocalTable, saved: SavedTable, targets: Sequence[Tensor | None], merges: list[Callable[[], None]]
    ) -> Rectangles:
        """What the optimizer's state is read into, with its offsets in the saved one.

        Args:
            table: whose state it is.
            saved: what the checkpoint says of it.
            targets: the state of each shard.
            merges: is given what remains to be done after reading, where a shard has several saved parts.
        """
        parts = []
        for shard, target in zip(table.shards, targets, strict=True):
            assert target is not None
            if table.whole.state_kind == "cells":
                parts.append(((shard.row, shard.column), target))
                continue
            first = saved.edges.index(shard.column)
            last = saved.edges.index(shard.column + shard.weight.shape[1])
            # What is read into must be where the mesh is: elsewhere it would be copied, and stay empty.
            read = torch.empty(len(target), last - first, device=target.device)
            merges.append(partial(_merge, target, read, saved.edges[first : last + 1]))
            parts.append(((shard.row, first), read))
        return parts

    def _target(self, table: LocalTable, shape: tuple[int, int], rectangles: Rectangles, mesh: DeviceMesh) -> Any:
        """What :meth:`_load` reads into."""
        if self._values is not None:
            return rectangles
        return rectangles[0][1] if table.plan.replicated else distributed(shape, rectangles, mesh)

    def _load(self, state: dict[str, Any]) -> None:
        if self._values is None:
            assert isinstance(self.path, Path)
            load_tensors(state, self.path / TABLES)
            return
        for name, rectangles in state.items():
            for (row, column), part in rectangles:
                rows, columns = part.shape
                part.copy_(self._values[name][row : row + rows, column : column + columns])

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

    def _fits(self, table: LocalTable, saved: SavedTable) -> bool:
        """Whether the optimizer's state does; if not, and it is not to be reset, that is an error."""
        kind = table.whole.state_kind
        splits = {*table.columns, saved.dim}
        if kind == saved.state_kind and (kind != "rows" or splits <= set(saved.edges)):
            return True
        if self._reset:
            return False
        if kind != saved.state_kind:
            why = f"it was kept by {saved.state_kind}, and the sparse optimizer of this run keeps it by {kind}"
        else:
            why = (
                f"row-wise Adagrad keeps one number a row for each part of the columns; the checkpoint's parts begin "
                f"at {saved.columns}, those of this plan at {table.columns}"
            )
        raise InputError(
            f"{self.path}: the optimizer state of table {table.whole.name} does not fit: {why}. Use a plan that splits "
            "its columns as before or not at all, or start with a new state: "
            "--trainer.strategy.init_args.reset_optimizer_state=true."
        )


def _merge(target: Tensor, parts: Tensor, edges: Sequence[int]) -> None:
    target.copy_(mean_of_parts(parts, edges))
