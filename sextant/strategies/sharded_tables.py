"""The shards of embedding tables that a process holds: their values, and the state of their optimizer."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

import torch
from fbgemm_gpu.split_table_batched_embeddings_ops_training import SplitTableBatchedEmbeddingBagsCodegen
from torch import Tensor, nn
from torchrec.distributed.embeddingbag import ShardedEmbeddingBagCollection
from torchrec.modules.embedding_configs import EmbeddingBagConfig
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

from sextant.strategies.embedding_tables import find_collections
from sextant.strategies.table_plan import Plan, TablePlan

#: What an optimizer in the backward pass keeps: a number for each cell of a table (Adagrad), one for each row
#: (row-wise Adagrad), or nothing.
StateKind = Literal["cells", "rows", "none"]
STATE_KINDS: dict[str, StateKind] = {"Adagrad": "cells", "RowWiseAdagrad": "rows"}


@dataclass(frozen=True)
class LocalShard:
    """A rectangle of a table that this process holds. The tensors are those in use, not copies.

    Args:
        row: its first row in the table.
        column: its first column in the table.
        weight: its values, (rows, columns).
        state: of its optimizer: (rows, columns) for Adagrad, (rows, 1) for the row-wise one; None for others.
    """

    row: int
    column: int
    weight: Tensor
    state: Tensor | None


@dataclass(frozen=True)
class Table:
    """A table as a whole.

    Args:
        name: of its parameter, as in the model without sharding.
        config: its size, and how it is initialized.
        state_kind: what its optimizer keeps.
        empty: whether it was on the meta device, and so has no values yet.
    """

    name: str
    config: EmbeddingBagConfig
    state_kind: StateKind
    empty: bool


@dataclass(frozen=True)
class LocalTable:
    """What this process holds of a table.

    Args:
        whole: the table.
        plan: how it is sharded.
        shards: those of this process; the whole table if it is ``data_parallel``.
    """

    whole: Table
    plan: TablePlan
    shards: list[LocalShard]

    @property
    def columns(self) -> list[int]:
        """Where the columns are split: the first column of each part, ascending."""
        return sorted({shard.column for shard in self.plan.shards})


def find_tables(model: nn.Module) -> dict[str, Table]:
    """The tables of a model that is not sharded yet, by the names of their parameters."""
    found = {}
    for path, collection in find_collections(model).items():
        for config in collection.embedding_bag_configs():
            weight = collection.embedding_bags[config.name].weight
            # A private name of torch: _apply_optimizer_in_backward leaves there what TorchRec reads too.
            optimizers = getattr(weight, "_optimizer_classes", [])
            kind = STATE_KINDS.get(optimizers[0].__name__, "none") if optimizers else "none"
            name = f"{path}.embedding_bags.{config.name}.weight"
            found[name] = Table(name, config, kind, weight.device.type == "meta")
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
    for planned in plan.tables:
        key = f"embedding_bags.{planned.name}.weight"
        table = tables[f"{planned.module}.{key}"]
        weight = weights[planned.module][key]
        if planned.replicated:
            yield LocalTable(table, planned, [LocalShard(0, 0, weight, None)])
            continue
        state = states[planned.module].get(key, {}).get(f"{planned.name}.momentum1")
        local = weight.to_local()
        shards = []
        for i, (part, (row, column)) in enumerate(zip(local.local_shards(), local.local_offsets(), strict=False)):
            kept = None if state is None else state.to_local().local_shards()[i]
            shards.append(
                LocalShard(row, column, part, kept.unsqueeze(1) if kept is not None and kept.ndim == 1 else kept)
            )
        yield LocalTable(table, planned, shards)


def keep_empty_shards_apart(model: nn.Module) -> None:
    """Let the backward pass tell empty shards from those beside them.

    A table of fewer rows than processes leaves some of them a shard without rows. FBGEMM 1.9 knows a table on the CPU
    by where its rows begin among all rows, ``hash_size_cumsum``: an empty shard begins where the next one does, so
    the next one is updated with the dimension of the empty one, which skips rows and columns without a word; and for
    an empty last shard it reads beyond the end of ``hash_size_cumsum``. Here an empty shard counts as one row, which
    no id refers to.

    Args:
        model: whose tables are sharded. Those on a GPU, where an index tells tables apart, stay as they are.
    """
    for module in model.modules():
        if isinstance(module, SplitTableBatchedEmbeddingBagsCodegen) and module.use_cpu:
            begins = list(accumulate((max(rows, 1) for rows, *_ in module.embedding_specs), initial=0))
            begins_of_features = [begins[table] for table in module.feature_table_map]
            module.hash_size_cumsum = torch.tensor([*begins_of_features, begins[-1]], dtype=torch.int64)


def set_learning_rate(model: nn.Module, rate: float) -> None:
    """Set the rate of the optimizers in the backward pass, from the next backward pass on."""
    for module in model.modules():
        if isinstance(module, ShardedEmbeddingBagCollection):
            for group in module.fused_optimizer.param_groups:
                group["lr"] = rate
            module.fused_optimizer.zero_grad()  # which hands the rate over; the gradients are not touched


def with_small_ids(ids: KeyedJaggedTensor) -> KeyedJaggedTensor:
    """The same ids as int32: with int64, row-wise tables look up other rows than those asked for (FBGEMM 1.9, CPU)."""
    if ids.values().dtype == torch.int32 and ids.lengths().dtype == torch.int32:
        return ids
    return KeyedJaggedTensor(ids.keys(), ids.values().int(), ids.weights_or_none(), ids.lengths().int())
