"""Which process holds which shard of which embedding table: planned, read, written and shown."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, get_args

from torch import nn
from torch.distributed._shard.metadata import ShardMetadata
from torch.distributed._shard.sharding_spec import EnumerableShardingSpec
from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
from torchrec.distributed.planner import EmbeddingShardingPlanner, Topology
from torchrec.distributed.planner.enumerators import EmbeddingEnumerator
from torchrec.distributed.planner.storage_reservations import FixedPercentageStorageReservation
from torchrec.distributed.planner.types import (
    HardwareConfig,
    KernelConfig,
    ParameterConstraints,
    PlannerError,
    ShardingOption,
    TopologyFactory,
    TrainerConfig,
)
from torchrec.distributed.planner.utils import placement
from torchrec.distributed.types import EmbeddingModuleShardingPlan, ParameterSharding, ShardingPlan
from torchrec.modules.embedding_modules import EmbeddingBagCollection
from typing_extensions import override

from sextant.errors import InputError

ShardingType = Literal[
    "table_wise", "row_wise", "column_wise", "table_row_wise", "table_column_wise", "grid_shard", "data_parallel"
]
ComputeKernel = Literal["fused", "fused_uvm", "fused_uvm_caching"]
GB = 2**30


@dataclass(frozen=True)
class Allowed:
    """What the planner may do with a table.

    Args:
        sharding_types: how it may be cut; any way if not given.
        compute_kernels: where it may be kept: ``fused``, also if nothing is given, in the device's memory;
            ``fused_uvm`` and ``fused_uvm_caching`` (with CUDA) in the host's. Copies of a ``data_parallel`` table are
            always kept in the device's.
        min_columns: the fewest columns of a shard where columns are cut, a multiple of 4.
    """

    sharding_types: list[ShardingType] | None = None
    compute_kernels: list[ComputeKernel] | None = None
    min_columns: int = 32

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InputError: a list is empty, or the columns do not divide by 4.
        """
        if self.sharding_types == [] or self.compute_kernels == []:
            raise InputError(
                "TorchRecStrategy: an empty list allows nothing. Name a type or a kernel, or leave it out."
            )
        if self.min_columns < 4 or self.min_columns % 4:
            raise InputError(f"TorchRecStrategy.min_columns is {self.min_columns}; it must be a multiple of 4.")


class AnyTypeSharder(EmbeddingBagCollectionSharder):
    """Shards in every way on every device: TorchRec's own list for CPUs is older than gloo's reduce-scatter."""

    @override
    def sharding_types(self, compute_device_type: str) -> list[str]:
        return list(get_args(ShardingType))


@dataclass(frozen=True)
class Devices:
    """What tables are planned for.

    Args:
        kind: ``cpu`` or ``cuda``.
        count: of all nodes.
        per_node: of one node.
        memory: bytes for tables, with their optimizer's state and buffers, on each.
    """

    kind: str
    count: int
    per_node: int
    memory: int

    def topology(self) -> Topology:
        """As TorchRec's planner wants it."""
        cuda = self.kind == "cuda"
        return TopologyFactory.create_topology(
            TrainerConfig(world_size=self.count, local_world_size=self.per_node),
            HardwareConfig(hbm_cap_bytes=self.memory) if cuda else HardwareConfig(ddr_cap_bytes=self.memory),
            KernelConfig(compute_device=self.kind),
        )


@dataclass(frozen=True)
class Shard:
    """A rectangle of a table.

    Args:
        rank: the process that holds it.
        row: its first row.
        column: its first column.
        rows: how many.
        columns: how many.
        placement: the device, as TorchRec writes it.
        bytes: estimated, with the optimizer's state and buffers; 0 if not known.
        cost: estimated milliseconds of a step; 0 if not known.
    """

    rank: int
    row: int
    column: int
    rows: int
    columns: int
    placement: str
    bytes: int = 0
    cost: float = 0.0


@dataclass(frozen=True)
class TablePlan:
    """How a table is cut.

    Args:
        module: the path of its collection in the model.
        name: of the table.
        sharding_type: how it is cut.
        compute_kernel: where it is kept and how it is updated.
        shards: its parts, or its copies if it is ``data_parallel``.
    """

    module: str
    name: str
    sharding_type: str
    compute_kernel: str
    shards: list[Shard]


@dataclass(frozen=True)
class Plan:
    """How the tables of a model are cut and dealt to the processes.

    Args:
        devices: how many processes.
        per_node: how many of them are on one node.
        kind: ``cpu`` or ``cuda``.
        tables: in the order of the model.
    """

    devices: int
    per_node: int
    kind: str
    tables: list[TablePlan] = field(default_factory=list)

    def __str__(self) -> str:
        head = ["table", "type", "kernel", "rank", "offset", "size", "placement", "MB", "ms"]
        rows = [head]
        for table in self.tables:
            for i, s in enumerate(table.shards):
                start = (
                    [f"{table.module}.{table.name}", table.sharding_type, table.compute_kernel] if i == 0 else [""] * 3
                )
                estimates = [f"{s.bytes / 2**20:,.1f}", f"{s.cost:.3f}"] if s.bytes else ["", ""]
                place = [str(s.rank), f"{s.row},{s.column}", f"{s.rows}x{s.columns}", s.placement]
                rows.append([*start, *place, *estimates])
        for rank, (size, cost) in enumerate(self.loads()):
            if size:
                rows.append(
                    [
                        "total of a rank" if rank == 0 else "",
                        "",
                        "",
                        str(rank),
                        "",
                        "",
                        "",
                        f"{size / 2**20:,.1f}",
                        f"{cost:.3f}",
                    ]
                )
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        )

    def loads(self) -> list[tuple[int, float]]:
        """Estimated bytes and milliseconds of a step for each rank."""
        shards = [shard for table in self.tables for shard in table.shards]
        return [
            (sum(s.bytes for s in shards if s.rank == rank), sum(s.cost for s in shards if s.rank == rank))
            for rank in range(self.devices)
        ]

    def to_json(self) -> str:
        """As JSON, which :meth:`from_json` reads."""
        return json.dumps(asdict(self), indent=1)

    @staticmethod
    def from_json(text: str) -> "Plan":
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError, KeyError, TypeError: it is something else.
        """
        plan = json.loads(text)
        tables = [TablePlan(**{**t, "shards": [Shard(**s) for s in t["shards"]]}) for t in plan["tables"]]
        for table in tables:
            if table.sharding_type not in get_args(ShardingType):
                raise ValueError(f"{table.sharding_type!r} is no sharding type")
            if table.compute_kernel not in (*get_args(ComputeKernel), "dense"):
                raise ValueError(f"{table.compute_kernel!r} is no kernel")
            for shard in table.shards:
                numbers = (shard.rank, shard.row, shard.column, shard.rows, shard.columns)
                if not all(isinstance(number, int) and number >= 0 for number in numbers):
                    raise ValueError(f"{asdict(shard)} is no shard")
        return Plan(**{**plan, "tables": tables})

    def to_torchrec(self) -> ShardingPlan:
        """As TorchRec wants it."""
        modules: dict[str, Any] = {}
        for table in self.tables:
            shards = [ShardMetadata([s.row, s.column], [s.rows, s.columns], s.placement) for s in table.shards]
            copies = table.sharding_type == "data_parallel"
            # The two differ in their ranks only, and TorchRec 1.9 fails on a rank without a shard of the first.
            kind = "column_wise" if table.sharding_type == "table_column_wise" else table.sharding_type
            modules.setdefault(table.module, EmbeddingModuleShardingPlan())[table.name] = ParameterSharding(
                sharding_type=kind,
                compute_kernel=table.compute_kernel,
                ranks=[s.rank for s in table.shards],
                sharding_spec=None if copies else EnumerableShardingSpec(shards),
            )
        return ShardingPlan(modules)


def collections(model: nn.Module) -> dict[str, EmbeddingBagCollection]:
    """The collections of tables in a model, by their paths.

    Raises:
        InputError: there are none.
    """
    found = {path: module for path, module in model.named_modules() if isinstance(module, EmbeddingBagCollection)}
    if not found:
        raise InputError(
            f"TorchRecStrategy: {type(model).__name__} has no EmbeddingBagCollection, so there is nothing to shard. "
            "Use --trainer.strategy=ddp."
        )
    return found


def make_plan(
    model: nn.Module, devices: Devices, allowed: Allowed, tables: Mapping[str, Allowed], batch_size: int
) -> Plan:
    """Plan with TorchRec's planner. Takes no process group, so a plan for many devices can be made on one.

    Args:
        model: with tables on the meta device.
        devices: what is planned for.
        allowed: what may be done with each table.
        tables: the same for single tables, by name.
        batch_size: samples of a process per step, for the estimates.

    Raises:
        InputError: a table is named that is not there, or the tables do not fit.
    """
    names = [config.name for module in collections(model).values() for config in module.embedding_bag_configs()]
    for name in tables:
        if name not in names:
            raise InputError(f"TorchRecStrategy.tables: there is no table {name!r}; there are {', '.join(names)}.")
    constraints = {}
    for name in names:
        own = tables.get(name, allowed)
        kernels = own.compute_kernels or ["fused"]
        constraints[name] = ParameterConstraints(
            sharding_types=list(own.sharding_types or get_args(ShardingType)),
            compute_kernels=[*kernels, "dense"],  # the kernel of copies
            min_partition=own.min_columns,
        )
    topology = devices.topology()
    sharders: Any = [AnyTypeSharder()]
    planner = EmbeddingShardingPlanner(
        topology=topology,
        batch_size=batch_size,
        constraints=constraints,
        storage_reservation=FixedPercentageStorageReservation(0.0),
        stats=[],
        debug=False,
    )
    try:
        planner.plan(model, sharders)
    except PlannerError as error:
        enumerator = EmbeddingEnumerator(topology=topology, batch_size=batch_size, constraints=constraints)
        raise InputError(_why_not(enumerator.enumerate(model, sharders), devices, names)) from error
    chosen = {(option.path, option.name): option for option in planner.get_selected_options()}
    planned = [
        _planned(chosen[path, config.name], devices)
        for path, module in collections(model).items()
        for config in module.embedding_bag_configs()
    ]
    return Plan(devices.count, devices.per_node, devices.kind, planned)


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
    return shard.storage.hbm + shard.storage.ddr


def _why_not(options: Sequence[ShardingOption], devices: Devices, names: Sequence[str]) -> str:
    """Say why there is no plan: what is missing, and what would fit."""
    ways: dict[str, list[ShardingOption]] = {name: [] for name in names}
    for option in options:
        ways[option.name].append(option)
    for name, possible in ways.items():
        if not possible:
            return (
                f"TorchRecStrategy: table {name} cannot be cut in any of the ways that are allowed, on {devices.count} "
                f"{devices.kind} devices, {devices.per_node} of them on a node. Allow another type in sharding_types."
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
                f"its optimizer's state and buffers). It fits with memory_gb={_gb(needed)}, or cut into "
                "more parts: other sharding_types, or more devices where rows or columns are cut."
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
            f"{_gb(total / devices.count)}."
        )
    return (
        f"TorchRecStrategy: the tables take {total:,} of {room:,} bytes, but no way was found to deal them to "
        f"{devices.count} devices of {memory}. Allow row_wise in sharding_types, or give somewhat more memory_gb."
    )


def _gb(needed: float) -> str:
    """So many bytes in GB, rounded up to three digits after the point."""
    return f"{math.ceil(1000 * needed / GB) / 1000:g}"


def read_plan(file: Path, model: nn.Module, devices: Devices) -> Plan:
    """Read a plan, and require that it is for these tables and these devices.

    Raises:
        InputError: there is no such file, it is no plan, or it is for something else.
    """
    try:
        plan = Plan.from_json(file.read_text())
    except OSError as error:
        raise InputError(f"{file}: the plan cannot be read ({error}). Correct TorchRecStrategy.plan.") from error
    except (ValueError, KeyError, TypeError) as error:
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
        for path, module in collections(model).items()
        for config in module.embedding_bag_configs()
    }
    planned = {(table.module, table.name): table for table in plan.tables}
    for key in {**sizes, **planned}:
        name = ".".join(key)
        if key not in planned:
            raise InputError(f"{file}: the plan is for other tables: the model has a table {name}, the plan has not.")
        if key not in sizes:
            raise InputError(f"{file}: the plan is for other tables: it has a table {name}, the model has not.")
        copies = len(planned[key].shards) if planned[key].sharding_type == "data_parallel" else 1
        cells, wanted = sum(s.rows * s.columns for s in planned[key].shards), copies * math.prod(sizes[key])
        if cells != wanted:
            raise InputError(
                f"{file}: the plan is for other tables: its shards of {name} have {cells:,} numbers, the model's table "
                f"of {sizes[key][0]:,} x {sizes[key][1]} has {wanted:,}."
            )
        for shard in planned[key].shards:
            if shard.rank >= devices.count:
                raise InputError(f"{file}: a shard of {name} is on rank {shard.rank}; there are {devices.count}.")
            if shard.placement != (right := placement(devices.kind, shard.rank, devices.per_node)):
                raise InputError(
                    f"{file}: a shard of {name} on rank {shard.rank} is placed on {shard.placement}, not {right}."
                )
        _check_kind(file, name, planned[key], devices)
        if not _is_whole(planned[key], sizes[key], devices.count):
            raise InputError(f"{file}: the plan is broken: its shards of {name} do not make up the table.")
    return plan


def _check_kind(file: Path, name: str, table: TablePlan, devices: Devices) -> None:
    """Refuse what TorchRec would take without a word, and do something else."""
    copies = table.sharding_type == "data_parallel"
    if copies != (table.compute_kernel == "dense"):
        raise InputError(
            f"{file}: {name} is {table.sharding_type} with the kernel {table.compute_kernel}; dense is the kernel of "
            "data_parallel, and of nothing else."
        )
    if table.sharding_type == "row_wise" and [shard.rank for shard in table.shards] != list(range(devices.count)):
        raise InputError(f"{file}: {name} is row_wise, so its shards must be on all ranks, in order.")


def _is_whole(table: TablePlan, size: tuple[int, int], ranks: int) -> bool:
    """Whether shards with as many numbers as the table are all of it, or whole copies of it for each rank."""
    shards = table.shards
    if table.sharding_type == "data_parallel":
        wanted = [(rank, 0, 0, *size) for rank in range(ranks)]
        return sorted((s.rank, s.row, s.column, s.rows, s.columns) for s in shards) == wanted
    within = all(s.row + s.rows <= size[0] and s.column + s.columns <= size[1] for s in shards)
    return within and not any(
        a.row < b.row + b.rows
        and b.row < a.row + a.rows
        and a.column < b.column + b.columns
        and b.column < a.column + a.columns
        for a, b in combinations(shards, 2)
    )
