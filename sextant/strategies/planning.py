"""The settings by which a strategy plans tables, for the devices of a run or for others."""

import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, StochasticWeightAveraging, WeightAveraging
from torch import nn

from sextant.atomic_folder import whole_file
from sextant.contracts import require_memory
from sextant.errors import InputError
from sextant.files.location import RemotePath, location
from sextant.lightning_internals import callbacks_of, is_fitting
from sextant.logs.drawing import draw_text
from sextant.strategies.embedding_tables import find_collections
from sextant.strategies.plan_file import read_plan
from sextant.strategies.sharded_tables import Table
from sextant.strategies.table_constraints import GB, Devices, TableConstraints
from sextant.strategies.table_plan import Plan, TablePlan
from sextant.strategies.table_planner import make_plan

MEMORY_FRACTION = 0.85  # of a device's memory that tables may take where nothing is said
BATCH_SIZE = 2048  # of all processes together, where nothing is said
PLAN_FILE = "table_plan.json"
HOST_KERNELS = ("fused_uvm", "fused_uvm_caching")  # of tables in the host's memory
SMALLER = "Give the tables fewer rows or columns, or shard them over more devices, or more nodes with their memory."


@runtime_checkable
class Batched(Protocol):
    """Data that says how many samples a step has, over all processes."""

    batch_size: int


@dataclass(frozen=True)
class Planning:
    """How tables are planned, whatever the model and the devices.

    Args:
        constraints: what may be done with each table.
        tables: the same for single tables, by name.
        memory_gb: GB on each device for tables; most of what a device has if not given.
        file: a plan to be used as it is.
        batch_size: samples of a process per step, for the estimates; the data's if not given.
    """

    constraints: TableConstraints = field(default_factory=TableConstraints)
    tables: Mapping[str, TableConstraints] = field(default_factory=dict)
    memory_gb: float | None = None
    file: Path | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InputError: one makes no sense.
        """
        if self.memory_gb is not None and self.memory_gb <= 0:
            raise InputError(f"TorchRecStrategy.memory_gb is {self.memory_gb:g}; it must be above 0.")
        if self.batch_size is not None and self.batch_size < 1:
            raise InputError(f"TorchRecStrategy.batch_size is {self.batch_size}; it must be 1 or more.")

    def plan(self, model: nn.Module, devices: Devices, data: object) -> Plan:
        """Plan the tables of a model for some devices, whether they are there or not.

        Args:
            model: with its tables on the meta device.
            devices: what is planned for.
            data: the DataModule, whose ``batch_size``, if it has one, the estimates are made with.

        Raises:
            InputError: the model has no tables, they do not fit, or the given plan is for others.
        """
        find_collections(model)
        if self.file is not None:
            return read_plan(self.file, model, devices)
        together = data.batch_size if isinstance(data, Batched) else BATCH_SIZE
        batch_size = self.batch_size or max(1, together // devices.count)
        return make_plan(model, devices, self.constraints, self.tables, batch_size)

    def devices(self, device: torch.device, count: int, per_node: int) -> Devices:
        """The devices of a run, with their memory for tables.

        Args:
            device: of this process.
            count: of all nodes.
            per_node: of one node.
        """
        if self.memory_gb is not None:
            memory = self.memory_gb * GB
        elif device.type == "cuda":
            memory = MEMORY_FRACTION * torch.cuda.get_device_properties(device).total_memory
        else:
            memory = MEMORY_FRACTION * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / per_node
        return Devices(device.type, count, per_node, round(memory))


def refuse_copies(trainer: Trainer) -> None:
    """Refuse callbacks that would copy the whole tables on each process of a run.

    Raises:
        InputError: there is one.
    """
    for callback in callbacks_of(trainer) if is_fitting(trainer) else ():
        if isinstance(callback, WeightAveraging | StochasticWeightAveraging):
            raise InputError(
                f"TorchRecStrategy: {type(callback).__name__} would copy the whole tables on each process. Take it out "
                "of trainer.callbacks, or use --trainer.strategy=auto."
            )


def refuse_settings(trainer: Trainer, precision: str) -> None:
    """Refuse settings with which sharded tables would go wrong silently.

    Args:
        trainer: of the run.
        precision: of the run.

    Raises:
        InputError: there is one.
    """
    if precision not in ("32-true", "bf16-mixed"):
        why = "scaled gradients would go straight into them" if precision == "16-mixed" else "they stay in float32"
        raise InputError(
            f"TorchRecStrategy: precision {precision} cannot be used with tables that are updated in the backward "
            f"pass: {why}. Use --trainer.precision=32-true or bf16-mixed."
        )
    if trainer.accumulate_grad_batches != 1:
        raise InputError(
            f"TorchRecStrategy: accumulate_grad_batches is {trainer.accumulate_grad_batches}, but tables are "
            "updated in every backward pass. Use 1, and a larger batch_size."
        )
    best = [c.dirpath for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint)]
    for place in (trainer.log_dir, trainer.default_root_dir, *best):
        if isinstance(location(place or ""), RemotePath):
            raise InputError(
                f"TorchRecStrategy: {place} is not on a file system of this machine, where all processes write a "
                "checkpoint of sharded tables, a folder, together. Keep the run in a folder that all nodes see."
            )


def require_memory_for_tables(trainer: Trainer, plan: Plan, tables: Mapping[str, Table], device: torch.device) -> None:
    """Require memory for the shards of a plan and the state of their optimizers; all processes call it together.

    Args:
        trainer: of the run.
        plan: of its tables.
        tables: of its model, by the names of their parameters.
        device: of this process.

    Raises:
        InputError: there is too little.
    """
    fitting, rank = is_fitting(trainer), trainer.global_rank
    of_node = {other for other in range(plan.devices) if other // plan.per_node == rank // plan.per_node}
    host = torch.device("cpu")
    if device == host:
        require_memory(trainer, host, _bytes(plan.tables, tables, of_node, fitting), SMALLER)
        return
    in_host = [table for table in plan.tables if table.compute_kernel in HOST_KERNELS]
    in_device = [table for table in plan.tables if table.compute_kernel not in HOST_KERNELS]
    require_memory(trainer, host, _bytes(in_host, tables, of_node, fitting), SMALLER)
    require_memory(trainer, device, _bytes(in_device, tables, {rank}, fitting), SMALLER)


def _bytes(planned: Sequence[TablePlan], tables: Mapping[str, Table], ranks: Set[int], fitting: bool) -> dict[str, int]:
    """The bytes that some ranks take for some tables."""
    weights = state = 0
    for table in planned:
        shards = [shard for shard in table.shards if shard.rank in ranks]
        cells, rows = sum(shard.rows * shard.columns for shard in shards), sum(shard.rows for shard in shards)
        weights += 4 * cells
        if fitting or not table.replicated:  # tables that are updated in the backward pass always have their state
            kind = tables[f"{table.module}.embedding_bags.{table.name}.weight"].state_kind
            state += 4 * {"cells": cells, "rows": rows, "none": 0}[kind]
    return {"the tables": weights, "their optimizer's state": state}


def keep_plan(trainer: Trainer, plan: Plan) -> None:
    """Keep a plan with a run that is logged; all processes call it together."""
    log_dir = trainer.log_dir  # all processes take part in finding it
    if not trainer.is_global_zero or trainer.logger is None:
        return
    if log_dir is not None:
        with whole_file(Path(log_dir) / PLAN_FILE) as part:
            part.write_text(plan.to_json())
    draw_text(trainer, "tables/plan", str(plan), preformatted=True)
