"""A file with a plan, which must be for these tables and these devices."""

import math
from itertools import combinations
from pathlib import Path

from torch import nn
from torchrec.distributed.planner.utils import placement

from sextant.errors import InputError
from sextant.files.text_file import read_text
from sextant.strategies.embedding_tables import find_collections
from sextant.strategies.table_constraints import Devices
from sextant.strategies.table_plan import Plan, Shard, TablePlan


def read_plan(file: Path, model: nn.Module, devices: Devices) -> Plan:
    """Read a plan, and require that it is for these tables and these devices.

    Raises:
        InputError: there is no such file, it is no plan, or it is for something else.
    """
    if not file.is_file():
        raise InputError(f"{file}: the plan cannot be read: there is no such file. Correct TorchRecStrategy.plan.")
    text = read_text(file)
    try:
        plan = Plan.from_json(text)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{file}: it is no plan ({type(error).__name__}: {error}). A run writes its plan to table_plan.json in its "
            "log folder; train.py plan writes one too."
        ) from error
    if (plan.devices, plan.per_node, plan.kind) != (devices.count, devices.per_node, devices.kind):
        raise InputError(
            f"{file}: the plan is for {plan.devices} processes on {plan.kind}, {plan.per_node} on a node; this run has "
            f"{devices.count} on {devices.kind}, {devices.per_node} on a node. Plan anew, without "
            "TorchRecStrategy.plan."
        )
    sizes = {
        (path, config.name): (config.num_embeddings, config.embedding_dim)
        for path, module in find_collections(model).items()
        for config in module.embedding_bag_configs()
    }
    planned = {(table.module, table.name): table for table in plan.tables}
    for key in {**sizes, **planned}:
        name = ".".join(key)
        if key not in planned:
            raise InputError(f"{file}: the plan is for other tables: the model has a table {name}, the plan has not.")
        if key not in sizes:
            raise InputError(f"{file}: the plan is for other tables: it has a table {name}, the model has not.")
        _check_table(file, name, planned[key], sizes[key], devices)
    return plan


def _check_table(file: Path, name: str, table: TablePlan, size: tuple[int, int], devices: Devices) -> None:
    """Refuse shards that are not those of the table, and what TorchRec would silently take for something else."""
    cells = sum(s.rows * s.columns for s in table.shards)
    wanted = (len(table.shards) if table.replicated else 1) * math.prod(size)
    if cells != wanted:
        raise InputError(
            f"{file}: the plan is for other tables: its shards of {name} have {cells:,} numbers, the model's table "
            f"of {size[0]:,} x {size[1]} has {wanted:,}."
        )
    for shard in table.shards:
        if shard.rank >= devices.count:
            raise InputError(f"{file}: a shard of {name} is on rank {shard.rank}; there are {devices.count}.")
        right = placement(devices.kind, shard.rank, devices.per_node)
        if shard.placement != right:
            raise InputError(
                f"{file}: a shard of {name} on rank {shard.rank} is placed on {shard.placement}, not {right}."
            )
    if table.replicated != (table.compute_kernel == "dense"):
        raise InputError(
            f"{file}: {name} is {table.sharding_type} with the kernel {table.compute_kernel}; dense is the kernel of "
            "data_parallel, and of nothing else."
        )
    if table.sharding_type == "row_wise" and [shard.rank for shard in table.shards] != list(range(devices.count)):
        raise InputError(f"{file}: {name} is row_wise, so its shards must be on all ranks, in order.")
    if not _is_whole(table, size, devices.count):
        raise InputError(f"{file}: the plan is broken: its shards of {name} do not make up the table.")


def _is_whole(table: TablePlan, size: tuple[int, int], ranks: int) -> bool:
    """Whether shards with as many numbers as the table are all of it, or a replica for each rank."""
    shards = table.shards
    if table.replicated:
        wanted = [(rank, 0, 0, *size) for rank in range(ranks)]
        return sorted((s.rank, s.row, s.column, s.rows, s.columns) for s in shards) == wanted
    within = all(s.row + s.rows <= size[0] and s.column + s.columns <= size[1] for s in shards)
    return within and not any(_overlap(a, b) for a, b in combinations(shards, 2))


def _overlap(a: Shard, b: Shard) -> bool:
    rows = a.row < b.row + b.rows and b.row < a.row + a.rows
    return rows and a.column < b.column + b.columns and b.column < a.column + a.columns
