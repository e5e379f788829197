"""The settings by which a strategy plans tables, for the devices of a run or for others."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import nn

from sextant.errors import InputError
from sextant.lightning_internals import is_fitting
from sextant.strategies.embedding_tables import find_collections
from sextant.strategies.plan_file import read_plan
from sextant.strategies.table_constraints import GB, Devices, TableConstraints
from sextant.strategies.table_plan import Plan
from sextant.strategies.table_planner import make_plan

MEMORY_FRACTION = 0.85  # of a device's memory that tables may take where nothing is said
BATCH_SIZE = 2048  # of all processes together, where nothing is said
PLAN_FILE = "table_plan.json"


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


def report_plan(trainer: Trainer, plan: Plan) -> None:
    """Print a plan, and write it into the log of a run; all processes call it together."""
    rank_zero_info(f"Embedding tables:\n{plan}")
    log_dir = trainer.log_dir  # all processes take part in finding it
    if not trainer.is_global_zero or trainer.logger is None:
        return
    if log_dir is not None:
        Path(log_dir).mkdir(parents=True, exist_ok=True)
        (Path(log_dir) / PLAN_FILE).write_text(plan.to_json())
    if isinstance(trainer.logger, TensorBoardLogger) and is_fitting(trainer):
        trainer.logger.experiment.add_text("tables/plan", "    " + str(plan).replace("\n", "\n    "))
