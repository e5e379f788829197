"""The largest budget of dynamic batches with which training steps fit into memory."""

import copy
import math
import time
from collections.abc import Iterator
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.memory import is_oom_error
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor
from torchmetrics import MetricCollection
from typing_extensions import override

from sextant.contracts import require
from sextant.errors import InputError
from sextant.lightning_internals import callbacks_of, datamodule_of
from sextant.logs.drawing import draw_text
from sextant.memory import PeakMemory
from sextant.optimization import Optimization
from sextant.resume.run_configuration import RunConfiguration
from sextant.samplers.largest_budget import largest_fitting, rounded


@runtime_checkable
class BudgetedData(Protocol):
    """Data in dynamic batches, with a budget of padded length.

    It keeps a budget that was found in its state, so that a resumed run goes on with the same batches.
    """

    max_batch_length: float

    @property
    def batch_length_range(self) -> tuple[float, float]:
        """The least budget that every training example fits into, and the most that is ever filled."""

    def probe_batches(self, max_batch_length: float, device: torch.device) -> Iterator[Any]:
        """The training batches of a budget that take the most memory, on a device and ready for a training step."""


@runtime_checkable
class Trainable(Protocol):
    """A module whose training step can be tried out apart from a run, as a BaseModule's.

    Its ``step`` logs nothing.
    """

    optimization: Optimization
    train_metrics: MetricCollection

    def step(self, batch: Any, metrics: MetricCollection) -> dict[str, Any]:
        """The ``loss`` of a batch, which updates the metrics."""


class BatchLengthFinder(Callback):
    """Set the DataModule's ``max_batch_length`` to the largest with which training steps fit into memory.

    A copy of the module is trained on the batches that take the most memory: first with a budget that holds the longest
    example, then with larger ones that seem to fit (twice as large at most) until one does not, then between the two. A
    run that goes on with a checkpoint keeps its budget.

    Memory is that of a GPU, or as much as ``memory_limit_mb`` allows. Not counted are the processes that load data,
    what ``ddp`` adds for its gradients (about their size again), and validation; of several processes each may take as
    much.

    Args:
        memory_limit_mb: the most memory that a training step may take above what was taken before, in MB (2^20 bytes).
            On a CPU it has to be given, and is resident memory, which can be measured on Linux alone.
        margin: by what fraction the budget stays below the largest that fitted, in [0, 1). Memory fragments between
            steps, and some of its fragments cannot be used.
        tolerance: within what fraction that largest one is found, in [0.01, 1).

    Raises:
        InputError: an argument is out of its range, or in ``setup``: the data is no :class:`BudgetedData` or the module
            not :class:`Trainable`, memory cannot be measured, or the longest example alone does not fit.
    """

    def __init__(self, memory_limit_mb: float | None = None, margin: float = 0.1, tolerance: float = 0.05) -> None:
        for key, value, allowed, must in (
            ("memory_limit_mb", memory_limit_mb, memory_limit_mb is None or memory_limit_mb > 0, "be above 0"),
            ("margin", margin, 0 <= margin < 1, "be 0 or more and below 1"),
            ("tolerance", tolerance, 0.01 <= tolerance < 1, "be 0.01 or more and below 1"),
        ):
            if not allowed:
                raise InputError(f"BatchLengthFinder.{key} is {value}; it must {must}.")
        self.memory_limit_mb = memory_limit_mb
        self.margin = margin
        self.tolerance = tolerance
        self._report: str | None = None  # once something was found

    # The train loader is made for the first time after this hook, and as early as the schedules ask for its length.
    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        data = require(datamodule_of(trainer), BudgetedData, self)
        optimization = require(pl_module, Trainable, self).optimization
        device = trainer.strategy.root_device
        if device.type != "cuda" and self.memory_limit_mb is None:
            raise InputError(
                "BatchLengthFinder.memory_limit_mb is not given, but without a GPU it has to be: the most memory that "
                "a training step may take, as in --batch_length_finder.memory_limit_mb=3000."
            )
        try:
            memory = PeakMemory(device)
        except InputError as error:
            raise InputError(
                f"BatchLengthFinder: {error} Leave --batch_length_finder out, and give max_batch_length."
            ) from error
        if _is_resumed(trainer):
            rank_zero_info("BatchLengthFinder: the run goes on with its budget of before.")
            return
        start = time.monotonic()
        report: list[str] = []
        least, most = data.batch_length_range
        with isolate_rng():
            load = partial(self._probe, Trial(trainer, pl_module, optimization), data, memory, report)
            found = largest_fitting(load, least, most, self.tolerance)
        del load  # and with it the copy
        memory.reset()
        # The processes take each step together, so what does not fit in one of them fits in none.
        fitting = float(trainer.strategy.reduce(torch.tensor(found, device=device), reduce_op="min"))
        if not fitting:
            raise InputError(
                f"BatchLengthFinder: the longest training example does not fit into memory as a batch of its own "
                f"({report[0]}). Allow more memory, make the model smaller, or leave the longest examples out."
            )
        data.max_batch_length = max(least, rounded((1 - self.margin) * fitting))
        result = (
            f"max_batch_length={data.max_batch_length}: the largest that fitted, {fitting:g}, less {self.margin:.0%}, "
            f"found in {time.monotonic() - start:.0f} s"
        )
        rank_zero_info(f"BatchLengthFinder: {result}")
        self._report = "  \n".join([result, *report])

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._report is not None:
            draw_text(trainer, "max_batch_length", self._report)

    def _probe(self, trial: "Trial", data: BudgetedData, memory: PeakMemory, report: list[str], budget: float) -> float:
        """The fraction of the memory that a budget takes, above 1 where it does not fit; added to ``report``."""
        memory.reset()
        fraction = 0.0
        try:
            for batch in data.probe_batches(budget, trial.device):
                trial.step(batch)
        except RuntimeError as error:
            if not is_oom_error(error):
                raise
            fraction = math.inf
        peak = memory.peak()
        limit = ""
        if self.memory_limit_mb is not None:
            fraction = max(fraction, peak / self.memory_limit_mb)
            limit = f" of {self.memory_limit_mb:,g}"
        answer = "fits" if fraction <= 1 else "out of memory" if fraction == math.inf else "too much"
        report.append(f"max_batch_length={budget:g} takes {peak:,.0f}{limit} MB: {answer}")
        rank_zero_info(f"BatchLengthFinder: {report[-1]}")
        return fraction


class Trial:
    """A copy of a module that is trained as the module will be, and leaves no trace but the memory that it takes.

    Args:
        trainer: whose device and precision are used.
        pl_module: what to copy, :class:`Trainable`.
        optimization: of the module.
    """

    def __init__(self, trainer: Trainer, pl_module: LightningModule, optimization: Optimization) -> None:
        self.device = trainer.strategy.root_device
        self._precision = trainer.precision_plugin
        module = copy.deepcopy(pl_module)
        module.trainer = trainer
        module.setup("fit")  # the module's own comes after those of callbacks
        self._module: Any = self._precision.convert_module(module).to(self.device)
        parameters = [parameter for parameter in self._module.parameters() if parameter.requires_grad]
        self._optimizer = optimization.optimizer(parameters)

    def step(self, batch: Any) -> None:
        """Train on a batch."""
        with self._precision.train_step_context():
            output = self._module.step(self._precision.convert_input(batch), self._module.train_metrics)
        loss: Tensor = output["loss"]
        # As in Lightning's loop, the gradients of the step before are kept until here.
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()


def _is_resumed(trainer: Trainer) -> bool:
    """Whether a run goes on with a checkpoint."""
    # The Trainer itself says so only after setup, unless its ckpt_path was set by hand.
    given = [c.ckpt_path for c in callbacks_of(trainer) if isinstance(c, RunConfiguration)]
    return bool(trainer.ckpt_path or any(given))
