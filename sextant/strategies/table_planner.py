"""TorchRec's planner, and why there is no plan where it finds none."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from torch import nn
from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
from torchrec.distributed.planner import EmbeddingShardingPlanner
from torchrec.distributed.planner.enumerators import EmbeddingEnumerator
from torchrec.distributed.planner.storage_reservations import FixedPercentageStorageReservation
from torchrec.distributed.planner.types import ParameterConstraints, PlannerError, ShardingOption
from torchrec.distributed.planner.utils import placement
from typing_extensions import override

from sextant.errors import InputError
from sextant.strategies.embedding_tables import find_collections
from sextant.strategies.table_constraints import GB, Devices, ShardingType, TableConstraints
from sextant.strategies.table_plan import Plan, Shard, TablePlan


class AnyTypeSharder(EmbeddingBagCollectionSharder):  # type: ignore[misc]  # TorchRec has no types
    """Shards in every way on every device: TorchRec's own list for CPUs is older than gloo's reduce-scatter."""

    @override
    def sharding_types(self, compute_device_type: str) -> list[str]:
        return list(get_args(ShardingType))


def make_plan(
    model: nn.Module,
    devices: Devices,
    constraints: TableConstraints,
    tables: Mapping[str, TableConstraints],
    batch_size: int,
) -> Plan:
    """Plan with TorchRec's planner. Takes no process group, so a plan for many devices can be made on one.

    Args:
        model: with tables on the meta device.
        devices: what is planned for.
        constraints: what may be done with each table.
        tables: the same for single tables, by name.
        batch_size: samples of a process per step, for the estimates.

    Raises:
        InputError: a table is named that is not there, or the tables do not fit.
    """
    names = [config.name for module in find_collections(model).values() for config in module.embedding_bag_configs()]
    for name in tables:
        if name not in names:
            raise InputError(f"TorchRecStrategy.tables: there is no table {name!r}; there are {', '.join(names)}.")
    limits = {name: _limits(tables.get(name, constraints)) for name in names}
    topology = devices.topology()
    sharders: Any = [AnyTypeSharder()]
    planner = EmbeddingShardingPlanner(
        topology=topology,
        batch_size=batch_size,
        constraints=limits,
        storage_reservation=FixedPercentageStorageReservation(0.0),
        stats=[],
        debug=False,
    )
    try:
        planner.plan(model, sharders)
    except PlannerError as error:
        enumerator = EmbeddingEnumerator(topology=topology, batch_size=batch_size, constraints=limits)
        raise InputError(_why_not(enumerator.enumerate(model, sharders), devices, names)) from error
    chosen = {(option.path, option.name): option for option in planner.get_selected_options()}
    planned = [
        _planned(chosen[path, config.name], devices)
        for path, module in find_collections(model).items()
        for config in module.embedding_bag_configs()
    ]
    return Plan(devices.count, devices.per_node, devices.kind, planned)


def _limits(constraints: TableConstraints) -> ParameterConstraints:
    """As TorchRec's planner wants them."""
    return ParameterConstraints(
        sharding_types=list(constraints.sharding_types or get_args(ShardingType)),
        compute_kernels=[*(constraints.compute_kernels or ["fused"]), "dense"],  # the kernel of replicas
        min_partition=constraints.min_columns,
    )


def _planned(option: ShardingOption, devices: Devices) -> TablePlan:
    shards = [
        Shard(
            rank=int(shard.rank or 0),
            row=shard.offset[0],
            column=shard.offset[1],
            rows=shard.size[0],
            columns=shard.size[1],
            placement=placement(devices.kind, int(shard.rank or 0), devices.per_node),
            bytes=_bytes(shard),
            cost=shard.perf.total if shard.perf else 0.0,
        )
        for shard in option.shards
    ]
    return TablePlan(option.path, option.name, option.sharding_type, option.compute_kernel, shards)


def _bytes(shard: Any) -> int:
    return int(shard.storage.hbm + shard.storage.ddr)


def _why_not(options: Sequence[ShardingOption], devices: Devices, names: Sequence[str]) -> str:
    """Say why there is no plan: what is missing, and what would fit."""
    ways: dict[str, list[ShardingOption]] = {name: [] for name in names}
    for option in options:
        ways[option.name].append(option)
    for name, possible in ways.items():
        if not possible:
            return (
                f"TorchRecStrategy: table {name} cannot be sharded in any of the ways that are allowed, on "
                f"{devices.count} {devices.kind} devices, {devices.per_node} of them on a node. Allow another type in "
                "sharding_types."
            )
    least = {
        name: min(possible, key=lambda option: max(_bytes(shard) for shard in option.shards))
        for name, possible in ways.items()
    }
    memory = f"{devices.memory / GB:,.3f} GB"
    for name, option in least.items():
        needed = max(_bytes(shard) for shard in option.shards)
        if needed > devices.memory:
            return (
                f"TorchRecStrategy: table {name} does not fit: its largest shard takes {needed:,} bytes, "
                f"{needed - devices.memory:,} more than the {memory} of a device, even {option.sharding_type} (with "
                f"its optimizer's state and buffers). It fits with memory_gb={_gb(needed)}, or in more "
                "shards: other sharding_types, or more devices where rows or columns are split."
            )
    total = sum(min(sum(_bytes(shard) for shard in option.shards) for option in possible) for possible in ways.values())
    largest = max(least, key=lambda name: sum(_bytes(shard) for shard in least[name].shards))
    room = devices.count * devices.memory
    missing = total - room
    if missing > 0:
        return (
            f"TorchRecStrategy: the tables do not fit: they take {total:,} bytes (with their optimizer's state and "
            f"buffers), {missing:,} more than the {memory} of each of {devices.count} devices. The largest is "
            f"{largest}. About {-(-total // devices.memory)} devices would do, or memory_gb="
            f"{_gb(total / devices.count)}, or tables of fewer rows."
            + (" Processes of one machine share its memory." if devices.kind == "cpu" else "")
        )
    return (
        f"TorchRecStrategy: the tables take {total:,} of {room:,} bytes, but no way was found to distribute them to "
        f"{devices.count} devices of {memory}. Allow row_wise in sharding_types, or give somewhat more memory_gb."
    )


def _gb(needed: float) -> str:
    """So many bytes in GB, rounded up to three digits after the point."""
    return f"{math.ceil(1000 * needed / GB) / 1000:g}"
