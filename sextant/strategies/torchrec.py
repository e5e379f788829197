"""Embedding tables that are sharded over the processes by TorchRec."""

import os
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from textwrap import fill
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.optim import Optimizer
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.distributed.types import BoundsCheckMode, ShardingEnv
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor
from typing_extensions import override

from sextant.checkpoint_files import main_file
from sextant.errors import InputError, lost_process
from sextant.files.location import location
from sextant.lightning_internals import datamodule_of, is_fitting, move_state
from sextant.strategies.checkpoint_writer import CheckpointWriter
from sextant.strategies.embedding_tables import fill_table
from sextant.strategies.planning import (
    Planning,
    keep_plan,
    refuse_copies,
    refuse_settings,
    require_memory_for_tables,
)
from sextant.strategies.prefetched_lookups import OneAhead, PrefetchedLookups, prefetched_lookups
from sextant.strategies.sharded_checkpoint import adagrad_state
from sextant.strategies.sharded_tables import (
    LocalTable,
    Table,
    find_tables,
    keep_empty_shards_apart,
    local_tables,
    set_learning_rate,
    with_small_ids,
)
from sextant.strategies.table_constraints import ComputeKernel, ShardingType, TableConstraints
from sextant.strategies.table_plan import Plan
from sextant.strategies.table_planner import AnyTypeSharder
from sextant.strategies.table_reader import TableReader

BEYOND = re.compile(r"idx < num_rows|out of bounds: \d")  # what FBGEMM says of an id


class TorchRecStrategy(DDPStrategy):
    """Shard embedding tables over the processes; everything else is replicated, as ddp does.

    Every ``EmbeddingBagCollection`` that the module makes in ``configure_model`` is sharded. Its parameters are on the
    meta device there; ``_apply_optimizer_in_backward`` says which optimizer updates them, within the backward pass.
    Their learning rate is that of the group named "sparse" of the module's optimizer, where it has one.

    Checkpoints are folders, and can be read with any number of processes and any plan, by ordinary strategies too.

    All processes need the same number of steps, and the same number of samples in each. Runs on GPUs (nccl) and on the
    CPU (gloo); on several nodes with torchrun, and a folder for checkpoints that all share. When a process is lost, the
    others end with a message with gloo; with nccl, torch ends them after the timeout.

    Args:
        sharding_types: how tables may be sharded; the planner chooses what it estimates to be fastest. All if not
            given: ``table_wise`` keeps tables whole, ``row_wise`` and ``column_wise`` split them over all devices,
            ``table_row_wise`` over those of one node, ``grid_shard`` both ways, ``table_column_wise`` splits columns
            and keeps the parts on one node, ``data_parallel`` replicates tables on all devices.
        compute_kernels: where tables may be kept: ``fused``, also if nothing is given, in the device's memory;
            ``fused_uvm`` and ``fused_uvm_caching`` (CUDA only) in the host's.
        min_columns: the fewest columns of a shard where columns are split, a multiple of 4.
        tables: for single tables, by name, what replaces all three settings above.
        memory_gb: GB (2^30 bytes) on each device for tables, with their optimizer's state and buffers. If not given,
            85 % of the device's; of the host's by the number of processes on the CPU.
        plan: a file with a plan, as a run writes it, to be used as it is.
        batch_size: samples of a process per step, for the planner's estimates; the DataModule's if not given.
        pipelined: send the ids of the next batch while the present one is computed. A batch holds one
            ``KeyedJaggedTensor``, which the module gives to its one collection of tables as it is.
        async_checkpoints: write checkpoints in the background, from a copy of the tables in the host's memory.
        reset_optimizer_state: where a checkpoint's state of Adagrad does not fit this run's plan or optimizer, start
            with zeros.
        timeout_minutes: how long a process waits for the others.

    Raises:
        InputError: a setting makes no sense; at the start of a run, something is asked for that would silently go wrong
            with tables that are updated in the backward pass.
    """

    def __init__(
        self,
        sharding_types: list[ShardingType] | None = None,
        compute_kernels: list[ComputeKernel] | None = None,
        min_columns: int = 32,
        tables: dict[str, TableConstraints] | None = None,
        memory_gb: float | None = None,
        plan: str | None = None,
        batch_size: int | None = None,
        pipelined: bool = False,
        async_checkpoints: bool = False,
        reset_optimizer_state: bool = False,
        timeout_minutes: float = 30.0,
    ) -> None:
        if timeout_minutes <= 0:
            raise InputError(f"TorchRecStrategy.timeout_minutes is {timeout_minutes:g}; it must be above 0.")
        timeout = timedelta(minutes=timeout_minutes)
        super().__init__(timeout=timeout)
        self.timeout = timeout
        constraints = TableConstraints(sharding_types, compute_kernels, min_columns)
        self.planning = Planning(constraints, tables or {}, memory_gb, None if plan is None else Path(plan), batch_size)
        self.pipelined = pipelined
        self.reset_optimizer_state = reset_optimizer_state
        self.plan: Plan | None = None  # once the tables are sharded
        self._sharded: DistributedModelParallel | None = None
        self._mesh: DeviceMesh | None = None
        self._tables: dict[str, Table] = {}  # as they were before they were sharded
        self._reader: TableReader | None = None
        self._replicated_state: dict[str, Tensor] = {}  # of a checkpoint, until the optimizers are given it
        self._lookups: list[PrefetchedLookups] = []
        self.checkpoint_writer = CheckpointWriter(self, async_checkpoints, timeout)

    # --- the processes -----------------------------------------------------------------------------------------------

    @override
    def setup_distributed(self) -> None:
        # TorchRec takes 8, or all, for the processes of a node where nothing is said, and shards tables by that.
        os.environ["LOCAL_WORLD_SIZE"] = str(self.num_processes)
        super().setup_distributed()
        self._mesh = init_device_mesh(self.root_device.type, (self.world_size,))

    @override
    @contextmanager
    def model_sharded_context(self) -> Generator[None, None, None]:
        """Modules that ``configure_model`` makes take no memory until they are sharded."""
        with torch.device("meta"):
            yield

    @override
    def setup_environment(self) -> None:
        if self.lightning_module is not None:  # otherwise only the processes are to find each other
            refuse_copies(self._trainer)  # before callbacks make them
        super().setup_environment()

    @override
    def setup(self, trainer: Trainer) -> None:
        refuse_settings(trainer, self.precision_plugin.precision)
        assert self.accelerator is not None
        assert self.model is not None
        self.accelerator.setup(trainer)
        fitting = is_fitting(trainer)
        module = self.lightning_module
        assert module is not None
        if self._sharded is None or self._sharded.module is not module:
            self._sharded = self._shard(trainer)
        self.model = self._sharded
        if fitting:
            self.setup_optimizers(trainer)
        self.setup_precision_plugin()
        if fitting:
            move_state(self.optimizers, self.root_device)
        if self._reader is not None:
            self._replicated_state = self._reader.read(self._local_tables(), self._require_mesh(), fitting)
            self._reader = None

    def _shard(self, trainer: Trainer) -> DistributedModelParallel:
        module: Any = self.lightning_module
        plan = self._make_plan()
        self.plan = plan
        self._tables = find_tables(module)
        require_memory_for_tables(trainer, plan, self._tables, self.root_device)
        rank_zero_info(fill(f"Embedding tables: {plan.summary()}", 80, subsequent_indent="  "))
        seed = self.broadcast(torch.initial_seed())  # replicas must be the same, also in a run without seed
        environment = ShardingEnv(self.world_size, self.global_rank, dist.group.WORLD, output_dtensor=True)
        sharded = DistributedModelParallel(
            module,
            env=environment,
            device=self.root_device,
            plan=plan.to_torchrec(),
            # An id beyond its table is an error; FBGEMM's default is to take row 0 instead.
            sharders=[AnyTypeSharder({"bounds_check_mode": BoundsCheckMode.FATAL})],
        )
        keep_empty_shards_apart(sharded)
        for table in self._local_tables():
            for shard in table.shards if table.whole.empty else ():
                fill_table(shard.weight, table.whole.config, seed, shard.row, shard.column)
        self._lookups = prefetched_lookups(module) if self.pipelined else []
        return sharded

    def whole_parameters(self) -> dict[str, int]:
        """The number of cells of each table, of whose shards a process holds some, by the name of its parameter."""
        return {n: table.config.num_embeddings * table.config.embedding_dim for n, table in self._tables.items()}

    def _make_plan(self) -> Plan:
        """Plan on the first process, so that all have the same plan, or the same error."""
        found: list[Any] = [None, None]
        module = self.lightning_module
        assert module is not None
        if self.is_global_zero:
            try:
                devices = self.planning.devices(self.root_device, self.world_size, self.num_processes)
                found[0] = self.planning.plan(module, devices, datamodule_of(self._trainer)).to_json()
            except InputError as error:
                found[1] = str(error)
        text, why_not = self.broadcast(found)
        if why_not is not None:
            raise InputError(why_not)
        return Plan.from_json(text)

    def _require_mesh(self) -> DeviceMesh:
        assert self._mesh is not None
        return self._mesh

    # --- training ----------------------------------------------------------------------------------------------------

    @override
    def batch_to_device(self, batch: Any, device: torch.device | None = None, dataloader_idx: int = 0) -> Any:
        batch = apply_to_collection(batch, KeyedJaggedTensor, with_small_ids)
        return super().batch_to_device(batch, device, dataloader_idx)

    @override
    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        # FBGEMM takes the rate of the backward pass along in the forward pass.
        groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        rates = [group["lr"] for group in groups if group.get("name") == "sparse"]
        if rates:
            set_learning_rate(self._require_module(), float(rates[0]))
        output = super().training_step(*args, **kwargs)
        for lookups in self._lookups:
            lookups.send()  # while the backward pass runs
        return output

    @override
    def on_train_start(self) -> None:
        self._same_steps("training", self._trainer.num_training_batches)
        assert self.plan is not None
        keep_plan(self._trainer, self.plan)

    @override
    def on_validation_start(self) -> None:
        self._same_steps("validation", self._trainer.num_val_batches)

    @override
    def on_test_start(self) -> None:
        self._same_steps("test", self._trainer.num_test_batches)

    @override
    def on_predict_start(self) -> None:
        self._same_steps("prediction", self._trainer.num_predict_batches)

    def _same_steps(self, what: str, steps: Any) -> None:
        """Require the same number of steps on all processes: one that had more would wait for the others for ever."""
        everyone: list[Any] = [None] * self.world_size
        dist.all_gather_object(everyone, steps)
        if any(count != steps for count in everyone):
            raise InputError(
                f"TorchRecStrategy: the processes have different numbers of {what} steps: {everyone}. They look up "
                "embeddings together, so give all the same number of batches."
            )

    @override
    def process_dataloader(self, dataloader: object) -> object:
        return OneAhead(dataloader, self._prefetch, self._discard_prefetched) if self.pipelined else dataloader

    def _discard_prefetched(self) -> None:
        """Discard what was prefetched for batches that may never come: an epoch may have ended early."""
        for lookups in self._lookups:
            lookups.discard()

    def _prefetch(self, batch: Any) -> Any:
        """Send the ids of a batch on their way."""

        def prefetch(ids: KeyedJaggedTensor) -> KeyedJaggedTensor:
            ids = with_small_ids(ids).to(self.root_device)
            for lookups in self._lookups:
                lookups.prefetch(ids)
            return ids

        return apply_to_collection(batch, KeyedJaggedTensor, prefetch)

    @property
    def _trainer(self) -> Trainer:
        return self._require_module().trainer

    def _require_module(self) -> LightningModule:
        assert self.lightning_module is not None
        return self.lightning_module

    @override
    def teardown(self) -> None:
        self.checkpoint_writer.finish()
        # The tables stay where they are: what is sharded cannot be moved.
        assert self.cluster_environment is not None
        assert self.accelerator is not None
        self.cluster_environment.teardown()
        self.precision_plugin.teardown()
        self.accelerator.teardown()

    # --- checkpoints -------------------------------------------------------------------------------------------------

    def _local_tables(self) -> list[LocalTable]:
        assert self.plan is not None
        return list(local_tables(self._require_module(), self.plan, self._tables))

    def _state_of_replicated(self, tables: list[LocalTable]) -> dict[str, Tensor]:
        """The state of replicated tables, by name, which the module's own optimizer has."""
        names = [table.whole.name for table in tables if table.plan.replicated]
        states = [optimizer.state_dict()["state"] for optimizer in self.optimizers]
        return {name: state[name]["sum"] for state in states for name in names if "sum" in state.get(name, {})}

    @override
    def lightning_module_state_dict(self) -> dict[str, Any]:
        """The state of everything but the tables, which :meth:`save_checkpoint` writes."""
        state = self._require_module().state_dict()
        return {key: value for key, value in state.items() if key not in self._tables}

    @override
    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Tensor]:
        state: Any = super().optimizer_state(optimizer)
        kept: Any = {key: value for key, value in state["state"].items() if key not in self._tables}
        return {**state, "state": kept}

    @override
    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint, a folder; all processes call it together."""
        assert self.plan is not None
        path = Path(self.broadcast(str(filepath)))
        tables = self._local_tables()
        checkpoint = checkpoint | {"table_plan": self.plan.to_json()}
        state = self._state_of_replicated(tables)
        self.checkpoint_writer.write(path, checkpoint, tables, state, self._require_mesh(), storage_options)

    @override
    def on_exception(self, exception: BaseException) -> None:
        self.checkpoint_writer.rescue()
        if isinstance(exception, RuntimeError) and BEYOND.search(str(exception)):
            raise InputError(
                f"Process {self.global_rank} stops: an id is beyond the rows of its table. The data has other ids than "
                "the model has rows: the sizes of the tables must be those that the data says "
                f"({str(exception).strip().splitlines()[0].partition('  ')[0]})"
            ) from exception
        if self.world_size > 1 and (lost := lost_process(exception, self.global_rank)):
            raise lost from exception

    @override
    def remove_checkpoint(self, filepath: str | Path) -> None:
        self.checkpoint_writer.finish()
        super().remove_checkpoint(filepath)

    @override
    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint but its tables, which are read when they are sharded."""
        path = location(self.broadcast(str(checkpoint_path)))
        checkpoint = self.checkpoint_io.load_checkpoint(str(main_file(path)))
        self._reader = TableReader(path, checkpoint, list(self._known_tables()), self.reset_optimizer_state)
        return checkpoint

    def _known_tables(self) -> dict[str, Table]:
        """The tables, whether they are sharded already or not."""
        module = self._require_module()
        sharded = self._sharded is not None and self._sharded.module is module
        return self._tables if sharded else find_tables(module)

    @override
    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        missing, unexpected = self._require_module().load_state_dict(checkpoint["state_dict"], strict=False)
        tables = self._known_tables()
        missing = [key for key in missing if key not in tables]
        if strict and (missing or unexpected):
            raise InputError(
                f"The checkpoint is of another model: it lacks {missing or 'nothing'}, and has beyond it "
                f"{unexpected or 'nothing'}."
            )

    @override
    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        for state in checkpoint["optimizer_states"]:
            for name, kept in self._replicated_state.items():
                state["state"][name] = adagrad_state(kept, checkpoint["global_step"])
        self._replicated_state = {}
        super().load_optimizer_state_dict(checkpoint)
