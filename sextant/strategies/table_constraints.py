"""What a plan of embedding tables has to keep to: what may be done with each table, and on which devices."""

from dataclasses import dataclass
from typing import Literal

from torchrec.distributed.planner import Topology
from torchrec.distributed.planner.types import HardwareConfig, KernelConfig, TopologyFactory, TrainerConfig

from sextant.errors import InputError

ShardingType = Literal[
    "table_wise", "row_wise", "column_wise", "table_row_wise", "table_column_wise", "grid_shard", "data_parallel"
]
ComputeKernel = Literal["fused", "fused_uvm", "fused_uvm_caching"]
GB = 2**30


@dataclass(frozen=True)
class TableConstraints:
    """What the planner may do with a table.

    Args:
        sharding_types: how it may be sharded; any way if not given.
        compute_kernels: where it may be kept: ``fused``, also if nothing is given, in the device's memory;
            ``fused_uvm`` and ``fused_uvm_caching`` (with CUDA) in the host's. The replicas of a ``data_parallel`` table
            are always kept in the device's.
        min_columns: the fewest columns of a shard where columns are split, a multiple of 4.
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
