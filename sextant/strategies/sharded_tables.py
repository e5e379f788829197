"""The shards of embedding tables that a process holds: their values, and the state of their optimizer."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torchrec.distributed.embeddingbag import ShardedEmbeddingBagCollection
from torchrec.modules.embedding_configs import EmbeddingBagConfig

from sextant.strategies.table_plan import Plan, TablePlan, collections


@dataclass(frozen=True)
class LocalShard:
    """A rectangle of a table that this process holds. The tensors are those in use, not copies.

    Args:
        row: its first row in the table.
        column: its first column in the table.
        weight: its values, (rows, columns).
        sums: what Adagrad has summed up: (rows, columns), or (rows, 1) for the row-wise one; None without such a state.
    """

    row: int
    column: int
    weight: Tensor
    sums: Tensor | None


@dataclass(frozen=True)
class Table:
    """A table as a whole.

    Args:
        name: of its parameter, as in the model without sharding.
        config: its size, and how it is initialized.
        sums: what its optimizer sums up: ``cells`` for Adagrad, ``rows`` for the row-wise one, ``none`` for others.
        empty: whether it was on the meta device, and so has no values yet.
    """

    name: str
    config: EmbeddingBagConfig
    sums: str
    empty: bool


@dataclass(frozen=True)
class LocalTable:
    """What this process holds of a table.

    Args:
        whole: the table.
        plan: how it is cut.
        shards: those of this process; a copy of the table if it is ``data_parallel``.
    """

    whole: Table
    plan: TablePlan
    shards: list[LocalShard]

    @property
    def copied(self) -> bool:
        """Whether each process has a copy, which an optimizer outside of the backward pass updates."""
        return self.plan.sharding_type == "data_parallel"

    @property
    def columns(self) -> list[int]:
        """Where the columns are cut: the first column of each part, ascending."""
        return sorted({shard.column for shard in self.plan.shards})


def find_tables(model: nn.Module) -> dict[str, Table]:
    """The tables of a model that is not sharded yet, by the names of their parameters."""
    kinds = {"Adagrad": "cells", "RowWiseAdagrad": "rows"}
    found = {}
    for path, collection in collections(model).items():
        for config in collection.embedding_bag_configs():
            weight = collection.embedding_bags[config.name].weight
            optimizers = [kinds.get(kind.__name__, "none") for kind in getattr(weight, "_optimizer_classes", [])]
            name = f"{path}.embedding_bags.{config.name}.weight"
            sums = optimizers[0] if optimizers else "none"
            found[name] = Table(name, config, sums, weight.device.type == "meta")
    return found


def local_tables(model: nn.Module, plan: Plan, tables: Mapping[str, Table]) -> Iterator[LocalTable]:
    """What this process holds of each table, in the order of the plan.

    Args:
        model: whose collections are sharded.
        plan: by which they are.
        tables: as they were before, by the names of their parameters.
    """
    weights: dict[str, Any] = {}
    states: dict[str, Any] = {}
    for path, collection in model.named_modules():
        if isinstance(collection, ShardedEmbeddingBagCollection):
            weights[path] = collection.state_dict()
            states[path] = collection.fused_optimizer.state_dict()["state"]
    for cut in plan.tables:
        key = f"embedding_bags.{cut.name}.weight"
        table = tables[f"{cut.module}.{key}"]
        weight = weights[cut.module][key]
        if cut.sharding_type == "data_parallel":
            yield LocalTable(table, cut, [LocalShard(0, 0, weight, None)])
            continue
        sums = states[cut.module].get(key, {}).get(f"{cut.name}.momentum1")
        pieces = weight.to_local()
        shards = []
        for i, (piece, offsets) in enumerate(zip(pieces.local_shards(), pieces.local_offsets(), strict=False)):
            summed = None if sums is None else sums.to_local().local_shards()[i]
            if summed is not None and summed.ndim == 1:
                summed = summed.unsqueeze(1)
            shards.append(LocalShard(offsets[0], offsets[1], piece, summed))
        yield LocalTable(table, cut, shards)


def set_learning_rate(model: nn.Module, rate: float) -> None:
    """Set the rate of the optimizers in the backward pass, from the next backward pass on."""
    for module in model.modules():
        if isinstance(module, ShardedEmbeddingBagCollection):
            for group in module.fused_optimizer.param_groups:
                group["lr"] = rate
            module.fused_optimizer.zero_grad()  # which hands the rate over; the gradients are not touched
