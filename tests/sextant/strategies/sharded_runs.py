"""Short training runs of a small DLRM, many of them in one group of processes that find each other once."""

import json
import multiprocessing
import os
import resource
import signal
import socket
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch import seed_everything
from lightning.pytorch.demos.boring_classes import BoringModel
from torch import Tensor
from torch.optim.lr_scheduler import ExponentialLR
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor
from typing_extensions import override

from modules.dlrm import ClickPredictor
from modules.row_wise_adagrad import RowWiseAdagrad
from sextant.errors import InputError
from sextant.resume.checkpoint_io import AtomicCheckpointIO
from sextant.strategies.torchrec import TorchRecStrategy

#: More rows than are drawn together; none that the number of processes divides; fewer rows than processes.
TABLES = {"large": 4500, "odd": 301, "small": 40, "tiny": 3}
DIM = 64
BATCH = 48  # divides by 2, 3 and 4
DENSE = 4
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
        strategy: settings of the strategy; an ordinary one if None.
        optimizer: of the tables.
        steps: of the run, in epochs of ten.
        save_at: a checkpoint is written to ``<name>/last.ckpt`` after each of these steps.
        resume: the checkpoint to go on from, a path in the folder of the runs.
        decay: of the sparse learning rate, each step.
        validate_every: steps between validations; none if 0.
        trainer: other settings of the Trainer.
        pooling: of several values.
        only_validate: nothing is trained.
        keep_steps: record the tables after each step.
        other_model: a model without tables.
        extra_table: the model has one more.
        full_at: no file can have more than a megabyte from this step on, as where the disk is full.
        own_seeds: each process has a seed of its own, as where none is given.
    """

    name: str
    strategy: dict[str, Any] | None = None
    optimizer: str = "sgd"
    steps: int = 20
    save_at: Sequence[int] = ()
    resume: str | None = None
    decay: float = 0.9
    validate_every: int = 0
    trainer: dict[str, Any] = field(default_factory=dict)
    pooling: Any = "sum"
    only_validate: bool = False
    keep_steps: bool = False
    other_model: bool = False
    extra_table: bool = False
    own_seeds: bool = False
    full_at: int | None = None


class Batches(torch.utils.data.Dataset[Any]):
    """Batches that are the same for any number of processes, each of which takes every so many samples.

    Features have none to three values, also the same one twice.

    Args:
        count: how many.
        seed: of what is drawn.
        trainer: whose step says which batch is next; if None, they come in order.
        ranks: this process and the number of all.
        tables: rows of each.
    """

    def __init__(
        self, count: int, seed: int, trainer: pl.Trainer | None, ranks: tuple[int, int], tables: dict[str, int]
    ) -> None:
        self.trainer = trainer
        self.batches: list[dict[str, Any]] = []
        first, step = ranks
        draw = torch.Generator().manual_seed(seed)
        for _ in range(count):
            dense = torch.randn(BATCH, DENSE, generator=draw)
            label = torch.randint(0, 2, (BATCH,), generator=draw).float()
            values, lengths = [], []
            for rows in tables.values():
                # Half of the values are among few rows, so that rows come twice, in one sample and in several.
                counts = torch.randint(0, 4 if rows > 5 else 2, (BATCH,), generator=draw).tolist()
                few = [rows if i % 2 else min(rows, 5) for i in range(BATCH)]
                bags = [torch.randint(0, r, (n,), generator=draw) for r, n in zip(few, counts, strict=True)]
                values += bags[first::step]
                lengths += counts[first::step]
            ids = KeyedJaggedTensor(list(tables), torch.cat(values), lengths=torch.tensor(lengths))
            batch = {"dense": dense, "label": label, "weight": torch.ones(BATCH), "index": torch.arange(BATCH)}
            self.batches.append({key: value[first::step] for key, value in batch.items()} | {"sparse": ids})

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.batches[index if self.trainer is None else self.trainer.global_step % len(self)]


class Clicks(pl.LightningDataModule):
    """Ten batches an epoch, and three to validate with.

    Args:
        extra_table: one more table.
        in_order: give batches in order, as a strategy wants them that takes them ahead of their steps.
    """

    def __init__(self, extra_table: bool, in_order: bool) -> None:
        super().__init__()
        self.in_order = in_order
        self.table_sizes = {**TABLES, **({"extra": 7} if extra_table else {})}
        self.dense_features = [f"x{i}" for i in range(DENSE)]

    def loader(self, count: int, seed: int, by_step: bool) -> torch.utils.data.DataLoader[Any]:
        trainer = self.trainer
        assert trainer is not None
        ranks = (trainer.global_rank, trainer.world_size)
        batches = Batches(count, seed, trainer if by_step else None, ranks, self.table_sizes)
        return torch.utils.data.DataLoader(batches, batch_size=None)

    @override
    def train_dataloader(self) -> torch.utils.data.DataLoader[Any]:
        return self.loader(10, 0, not self.in_order)

    @override
    def val_dataloader(self) -> torch.utils.data.DataLoader[Any]:
        return self.loader(3, 1, False)


def whole_tables(module: ClickPredictor, trainer: pl.Trainer) -> dict[str, Tensor]:
    """Put the tables together from the shards of all processes.

    Each number must be in exactly one shard; copies must be the same.
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
                assert all(torch.equal(copy, found[name]) for copy in everywhere), name
            continue
        local = value.to_local()
        pieces = list(zip(local.local_offsets(), local.local_shards(), strict=False))
        pieces = [(tuple(offset), piece.clone()) for offset, piece in pieces]
        torch.distributed.all_gather_object(everywhere, pieces)
        whole, times = torch.full(value.shape, torch.nan), torch.zeros(value.shape)
        for (row, column), piece in (shard for shards in everywhere for shard in shards):
            rows, columns = piece.shape
            whole[row : row + rows, column : column + columns] = piece
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
                trainer.strategy._finish_writing()  # what was begun before is not what meets the full disk
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
            path = self.folder / self.case.name / LAST
            trainer.save_checkpoint(path)
            if trainer.is_global_zero:
                with (self.folder / f"{self.case.name}.saved").open("a") as file:
                    file.write(f"{trainer.global_step}\n")

    @override
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.val_losses.append(float(trainer.callback_metrics["val/loss"]))


def train(case: Case, folder: Path, devices: int, num_nodes: int = 1) -> None:
    """Run a case; the first process writes its results, ``error`` if it was refused."""
    seed_everything(1 + case.own_seeds * int(os.environ.get("LOCAL_RANK", "0")), verbose=False)
    results: dict[str, Any] = {}
    record = Record(case, folder)
    is_first = os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"
    try:
        strategy: Any = "auto" if case.strategy is None else TorchRecStrategy(**case.strategy)
        module: pl.LightningModule = (
            BoringModel()
            if case.other_model
            else ClickPredictor(
                DENSE,
                len(TABLES) + case.extra_table,
                DIM,
                [16],
                [16],
                pooling=case.pooling,
                sparse_optimizer=OPTIMIZERS[case.optimizer],
                sparse_scheduler=lambda o: ExponentialLR(o, case.decay),
                optimizer=lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.5),
                scheduler=lambda o: ExponentialLR(o, 0.95),
            )
        )
        validations = {"val_check_interval": case.validate_every} if case.validate_every else {"limit_val_batches": 0}
        trainer = pl.Trainer(
            **{
                "max_steps": case.steps,
                "accelerator": "cpu",
                "devices": devices,
                "num_nodes": num_nodes,
                "strategy": strategy,
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
        resume = None if case.resume is None else folder / case.resume
        data = Clicks(case.extra_table, in_order=bool(case.strategy and case.strategy.get("pipelined")))
        if case.only_validate:
            trainer.validate(module, data, ckpt_path=resume, verbose=False, weights_only=True)
        else:
            trainer.fit(module, data, ckpt_path=resume, weights_only=True)
        assert isinstance(module, ClickPredictor)
        results |= {
            "losses": record.losses,
            "val_losses": record.val_losses,
            "rates": record.rates,
            "initial": record.initial,
            "steps": record.tables,
            "tables": whole_tables(module, trainer),
            "network": {name: value.clone() for name, value in module.network.state_dict().items()},
            "plan": getattr(trainer.strategy, "_plan", None) and trainer.strategy._plan.to_json(),  # type: ignore[attr-defined]
        }
    except InputError as error:
        results["error"] = str(error)
    finally:
        most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    if is_first:
        torch.save(results, folder / f"{case.name}.pt")


def _rank(
    cases: Sequence[Case], folder: Path, devices: int, num_nodes: int, environment: dict[str, str], log: Path
) -> None:
    os.environ.update(environment)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    torch.set_num_threads(1)
    try:
        for case in cases:
            train(case, folder, devices, num_nodes)
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # not to wait for the others


def start(cases: Sequence[Case], folder: Path, devices: int, num_nodes: int = 1) -> list[ForkServerProcess]:
    """Start processes that run cases one after the other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    context = multiprocessing.get_context("forkserver")
    for node in range(num_nodes):
        for rank in range(devices):
            environment = {
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "NODE_RANK": str(node),
                "LOCAL_RANK": str(rank),
            }
            process = context.Process(
                target=_rank, args=(cases, folder, devices, num_nodes, environment, folder / "log")
            )
            process.start()
            processes.append(process)
    return processes


def kill(processes: Sequence[ForkServerProcess]) -> None:
    """Kill processes without a word: none can tidy up."""
    for process in processes:
        if process.pid is not None and process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
    for process in processes:
        process.join()


class Results:
    """What runs in a folder found, and the same run of the model in this process without sharding."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getitem__(self, name: str) -> dict[str, Any]:
        file = self.folder / f"{name}.pt"
        results: dict[str, Any] = torch.load(file, weights_only=True)
        return results

    def alone(self, case: Case) -> dict[str, Any]:
        """Run a case in this process, once."""
        if not (self.folder / f"{case.name}.pt").exists():
            threads = torch.get_num_threads()
            torch.set_num_threads(1)
            train(case, self.folder, 1)
            torch.set_num_threads(threads)
        return self[case.name]

    def saved(self, name: str) -> list[int]:
        """The steps whose checkpoints were written, as far as is known."""
        file = self.folder / f"{name}.saved"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
