"""Which process holds which shard of which embedding table: a plan, its JSON and its text."""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, get_args

from torch.distributed._shard.metadata import ShardMetadata  # what TorchRec's plans are made of
from torch.distributed._shard.sharding_spec import EnumerableShardingSpec
from torchrec.distributed.types import EmbeddingModuleShardingPlan, ParameterSharding, ShardingPlan

from sextant.strategies.table_constraints import ComputeKernel, ShardingType


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
    """How a table is sharded.

    Args:
        module: the path of its collection in the model.
        name: of the table.
        sharding_type: how it is sharded.
        compute_kernel: where it is kept and how it is updated.
        shards: its parts, or its replicas if it is ``data_parallel``.
    """

    module: str
    name: str
    sharding_type: str
    compute_kernel: str
    shards: list[Shard]

    @property
    def replicated(self) -> bool:
        """Whether each process has the whole table, which an optimizer outside of the backward pass updates."""
        return self.sharding_type == "data_parallel"


@dataclass(frozen=True)
class Plan:
    """How the tables of a model are sharded and distributed to the processes.

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
        rows = [["table", "type", "kernel", "rank", "offset", "size", "placement", "MB", "ms"]]
        for table in self.tables:
            first = [f"{table.module}.{table.name}", table.sharding_type, table.compute_kernel]
            for s in table.shards:
                place = [str(s.rank), f"{s.row},{s.column}", f"{s.rows}x{s.columns}", s.placement]
                rows.append([*first, *place, *(_estimates(s.bytes, s.cost))])
                first = [""] * 3
        first = ["total of a rank", "", ""]
        for rank, (size, cost) in enumerate(self.loads()):
            if size:
                rows.append([*first, str(rank), "", "", "", *_estimates(size, cost)])
                first = [""] * 3
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)

    def summary(self) -> str:
        """How many tables are sharded in which way, and the most that a process has of them, in a line."""
        kinds = Counter(table.sharding_type for table in self.tables)
        ways = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        most, cost = (max(each) for each in zip(*self.loads(), strict=True))
        size, milliseconds = _estimates(most, cost)
        where = f"{self.devices} {self.kind} device{'s' if self.devices > 1 else ''}"
        return f"{ways} over {where}; at most {size} MB and {milliseconds} ms a step each"

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
            ValueError, KeyError, TypeError, RecursionError: it is something else.
        """
        plan = json.loads(text)
        tables = [TablePlan(**{**t, "shards": [Shard(**s) for s in t["shards"]]}) for t in plan["tables"]]
        for table in tables:
            if not all(isinstance(name, str) for name in (table.module, table.name)):
                raise ValueError(f"{table.module!r}, {table.name!r} is the name of no table")
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
            # The two differ in their ranks only, and TorchRec 1.9 fails on a rank without a shard of the first.
            kind = "column_wise" if table.sharding_type == "table_column_wise" else table.sharding_type
            modules.setdefault(table.module, EmbeddingModuleShardingPlan())[table.name] = ParameterSharding(
                sharding_type=kind,
                compute_kernel=table.compute_kernel,
                ranks=[s.rank for s in table.shards],
                sharding_spec=None if table.replicated else EnumerableShardingSpec(shards),
            )
        return ShardingPlan(modules)


def _estimates(size: int, cost: float) -> list[str]:
    return [f"{size / 2**20:,.1f}", f"{cost:.3f}"] if size else ["", ""]
