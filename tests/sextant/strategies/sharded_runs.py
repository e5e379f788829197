"""Short training runs of a small DLRM, which several processes make one after the other."""

import json
import os
import resource
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch import seed_everything
from lightning.pytorch.demos.boring_classes import BoringModel
from torch import Tensor
from torch.optim.lr_scheduler import ExponentialLR
from typing_extensions import override

from modules.dlrm import ClickPredictor
from modules.networks.dlrm import DLRMArchitecture
from modules.row_wise_adagrad import RowWiseAdagrad
from sextant.errors import InputError
from sextant.resume.checkpoint_io import AtomicCheckpointIO
from sextant.strategies.torchrec import TorchRecStrategy
from tests.ranks import Ranks
from tests.sextant.strategies.generated_clicks import DENSE, TABLES, Clicks

DIM = 64
# Adagrad makes steps of any gradient that is not exactly 0, also of rounding errors where eps is small.
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=20.0),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1, eps=1e-4),
    "row_wise_adagrad": lambda p: RowWiseAdagrad(p, lr=0.1),
}
LAST = "last.ckpt"


@dataclass(frozen=True)
class Case:
    """One run.

    Args:
        name: its results are written to ``<name>.pt``.
        strategy: settings of the strategy; an ordinary one, in this process, if None.
        optimizer: of the tables.
        steps: of the run, in epochs of ten.
        save_at: a checkpoint is written to ``<name>/last.ckpt`` after each of these steps.
        resume: the run whose checkpoint this one resumes from.
        decay: of the sparse learning rate, each step.
        validate_every: steps between validations; none if 0.
        trainer: other settings of the Trainer.
        pooling: of several values.
        only_validate: nothing is trained.
        keep_steps: record the tables after each step.
        other_model: a model without tables.
        extra_table: the model has one more.
        own_seeds: each process has a seed of its own, as where none is given.
        beyond: one id of each batch is that of the row after a table's last one.
        uneven: of ``train`` or ``val``, the first process has one batch more than the others.
        full_at: no file can have more than a megabyte from this step on, as where the disk is full.
        processes: of a node.
        num_nodes: nodes.
    """

    name: str
    strategy: dict[str, Any] | None = None
    optimizer: str = "sgd"
    steps: int = 20
    save_at: Sequence[int] = ()
    resume: "Case | None" = None
    decay: float = 0.9
    validate_every: int = 0
    trainer: dict[str, Any] = field(default_factory=dict)
    pooling: Any = "sum"
    only_validate: bool = False
    keep_steps: bool = False
    other_model: bool = False
    extra_table: bool = False
    own_seeds: bool = False
    beyond: bool = False
    uneven: str = ""
    full_at: int | None = None
    processes: int = 2
    num_nodes: int = 1

    @property
    def checkpoint(self) -> Path:
        """Its checkpoint, in the folder of the runs."""
        return Path(self.name) / LAST


def alone(optimizer: str = "sgd", **more: Any) -> Case:
    """The same model without sharding, in one process."""
    return Case(**{"name": optimizer, "optimizer": optimizer, "processes": 1, **more})


def sharded(kind: str, optimizer: str = "sgd", name: str | None = None, **more: Any) -> Case:
    """A run whose tables are all sharded in one way."""
    return Case(name or f"{optimizer}-{kind}", {"sharding_types": [kind]}, optimizer, **more)


def saved(kind: str, optimizer: str = "adagrad") -> Case:
    """A run that keeps a checkpoint of its seventh step."""
    return sharded(kind, optimizer, f"{optimizer}-save-{kind}", save_at=(7,))


def whole_tables(module: ClickPredictor, trainer: pl.Trainer) -> dict[str, Tensor]:
    """Put the tables together from the shards of all processes.

    Each number must be in exactly one shard; replicas must be the same.
    """
    assert module.tables is not None
    state = {name: value.detach() for name, value in module.tables.state_dict().items()}
    found = {}
    for name, value in state.items():
        everywhere: list[Any] = [None] * trainer.world_size
        if not hasattr(value, "to_local"):
            found[name] = value.clone()
            if trainer.world_size > 1:
                torch.distributed.all_gather_object(everywhere, found[name])
                assert all(torch.equal(replica, found[name]) for replica in everywhere), name
            continue
        local = value.to_local()
        shards = list(zip(local.local_offsets(), local.local_shards(), strict=False))
        shards = [(tuple(offset), shard.clone()) for offset, shard in shards]
        torch.distributed.all_gather_object(everywhere, shards)
        whole, times = torch.full(value.shape, torch.nan), torch.zeros(value.shape)
        for (row, column), shard in (shard for of_rank in everywhere for shard in of_rank):
            rows, columns = shard.shape
            whole[row : row + rows, column : column + columns] = shard
            times[row : row + rows, column : column + columns] += 1
        assert (times == 1).all(), name
        found[name] = whole
    return found


class Record(pl.Callback):
    """Losses, tables and rates of a run, and its checkpoints."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.case = case
        self.folder = folder
        self.losses: list[float] = []
        self.rates: list[list[float]] = []
        self.initial: dict[str, Tensor] = {}
        self.tables: dict[int, dict[str, Tensor]] = {}
        self.val_losses: list[float] = []

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, ClickPredictor)
        self.initial = whole_tables(pl_module, trainer)

    @override
    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step + 1 == self.case.full_at:
            if isinstance(trainer.strategy, TorchRecStrategy):
                trainer.strategy.checkpoint_writer.finish()  # what is being written is not to meet the full disk
            resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        self.rates.append([group["lr"] for group in trainer.optimizers[0].param_groups])

    @override
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, ClickPredictor)
        loss: Any = trainer.strategy.reduce(outputs["loss"].detach().clone())
        self.losses.append(float(loss))
        if self.case.keep_steps:
            self.tables[trainer.global_step] = whole_tables(pl_module, trainer)
        if trainer.global_step in self.case.save_at:
            trainer.save_checkpoint(self.folder / self.case.checkpoint)
            if trainer.is_global_zero:
                with (self.folder / f"{self.case.name}.saved").open("a") as file:
                    file.write(f"{trainer.global_step}\n")

    @override
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.val_losses.append(float(trainer.callback_metrics["val/loss"]))


def small_model(case: Case) -> pl.LightningModule:
    """The model that a case trains."""
    if case.other_model:
        return BoringModel()
    return ClickPredictor(
        DENSE,
        len(TABLES) + case.extra_table,
        DLRMArchitecture(DIM, (16,), (16,), pooling=case.pooling),
        sparse_optimizer=OPTIMIZERS[case.optimizer],
        sparse_scheduler=lambda o: ExponentialLR(o, case.decay),
        optimizer=lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.5),
        scheduler=lambda o: ExponentialLR(o, 0.95),
    )


def train(case: Case, folder: Path) -> None:
    """Run a case; the first process writes its results, ``error`` if it was refused."""
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    seed_everything(1 + case.own_seeds * rank, verbose=False)
    results: dict[str, Any] = {}
    record = Record(case, folder)
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    try:
        results = run(case, folder, record)
    except InputError as error:
        results["error"] = str(error)
    except RuntimeError as error:
        if not case.beyond:
            raise
        results["error"] = str(error)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    if rank == 0 and os.environ.get("NODE_RANK", "0") == "0":
        torch.save(results, folder / f"{case.name}.pt")


def run(case: Case, folder: Path, record: Record) -> dict[str, Any]:
    """Run a case in this process, together with the others."""
    validations = {"val_check_interval": case.validate_every} if case.validate_every else {"limit_val_batches": 0}
    strategy = None if case.strategy is None else TorchRecStrategy(**case.strategy)
    trainer = pl.Trainer(
        **{
            "max_steps": case.steps,
            "accelerator": "cpu",
            "devices": case.processes,
            "num_nodes": case.num_nodes,
            "strategy": strategy or "auto",
            "logger": False,
            "default_root_dir": str(folder / "root"),
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "use_distributed_sampler": False,
            "plugins": [AtomicCheckpointIO()],
            "callbacks": [record],
            **({} if case.only_validate else validations),
            **case.trainer,
        }
    )
    resume = None if case.resume is None else folder / case.resume.checkpoint
    data = Clicks(case.extra_table, bool(case.strategy and case.strategy.get("pipelined")), case.beyond, case.uneven)
    module = small_model(case)
    if case.only_validate:
        trainer.validate(module, data, ckpt_path=resume, verbose=False, weights_only=True)
    else:
        trainer.fit(module, data, ckpt_path=resume, weights_only=True)
    assert isinstance(module, ClickPredictor)
    return {
        "losses": record.losses,
        "val_losses": record.val_losses,
        "rates": record.rates,
        "initial": record.initial,
        "steps": record.tables,
        "tables": whole_tables(module, trainer),
        "network": {name: value.clone() for name, value in module.network.state_dict().items()},
        "plan": strategy.plan.to_json() if strategy and strategy.plan else None,
        "sizes": strategy.whole_parameters() if strategy else {},
    }


class Runs:
    """Runs in a folder, each made when it is first asked for, after those whose checkpoints it needs.

    Args:
        folder: for results, checkpoints and the output of the processes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made: dict[str, Case] = {}
        self._ranks: dict[tuple[int, int], Ranks] = {}

    def __call__(self, case: Case) -> dict[str, Any]:
        """The results of a run."""
        if case.name not in self._made:
            if case.resume is not None:
                self(case.resume)
            if case.strategy is None:
                train(case, self.folder)
            else:
                self.ranks(case.processes, case.num_nodes).run(train, case, self.folder)
            self._made[case.name] = case
        assert self._made[case.name] == case, f"there are two runs by the name of {case.name}"
        results: dict[str, Any] = torch.load(self.folder / f"{case.name}.pt", weights_only=True)
        return results

    def checkpoint(self, case: Case) -> Path:
        """The last checkpoint of a run."""
        self(case)
        return self.folder / case.checkpoint

    def ranks(self, processes: int, num_nodes: int = 1) -> Ranks:
        """The processes that make runs."""
        key = (processes * num_nodes, num_nodes)
        if key not in self._ranks or not self._ranks[key].alive:
            self._ranks[key] = Ranks(key[0], self.folder / "log", num_nodes)
        return self._ranks[key]

    def close(self) -> None:
        """End all processes."""
        for ranks in self._ranks.values():
            ranks.close()


def saved_steps(folder: Path, case: Case) -> list[int]:
    """The steps whose checkpoints were written, as far as is known."""
    file = folder / f"{case.name}.saved"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def assert_same(found: dict[str, Any], expected: dict[str, Any], tolerance: float = 1e-6, begin: int = 0) -> None:
    """The losses, rates, tables and the dense part are the same; those of the steps from the given one on."""
    assert "error" not in found, found["error"]
    assert len(found["losses"]) == len(expected["losses"]) - begin
    for name in ("losses", "rates"):
        assert torch.allclose(
            torch.tensor(found[name]), torch.tensor(expected[name][begin:]), rtol=0, atol=tolerance
        ), name
    for part in ("tables", "network"):
        assert found[part].keys() == expected[part].keys()
        for name, value in found[part].items():
            assert torch.allclose(value, expected[part][name], rtol=0, atol=tolerance), name
