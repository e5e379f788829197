"""Find the largest budget of dynamic batches that memory holds."""

import copy
import ctypes
import math
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.memory import garbage_collection_cuda, is_oom_error
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor
from typing_extensions import override

from sextant.errors import InputError
from sextant.memory import peak_memory
from sextant.resume.configuration_in_checkpoint import ConfigurationInCheckpoint

MOST_PROBES = 20
CLEAR_REFS = Path("/proc/self/clear_refs")
M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
LARGE_BLOCK = 2**20  # bytes


@runtime_checkable
class BudgetedData(Protocol):
    """A DataModule with a budget of padded length for its batches.

    It keeps a budget that was found in its state, so that a resumed run goes on with the same batches.
    """

    max_batch_length: float

    @property
    def batch_length_range(self) -> tuple[float, float]:
        """The least budget that every training example fits into, and the most that is ever filled."""

    def probe_batches(self, max_batch_length: float, device: torch.device) -> Iterator[Any]:
        """The training batches of a budget that take the most memory, on a device and ready for ``training_step``."""


class BatchLengthFinder(Callback):
    """Set the DataModule's ``max_batch_length`` to the largest with which training steps fit into memory.

    A copy of the module is trained on the batches that take the most memory: with a budget that holds the longest
    example at first, then with as much larger ones as seem to fit (twice as large at most) until one does not, then
    between the two. A run that goes on with a checkpoint keeps its budget.

    Memory is that of a GPU, or what ``memory_limit_mb`` says. Not counted are the processes that load data, what
    ``ddp`` adds for its gradients (about their size again), and validation; of several processes each may take as much.

    Needs a DataModule with :class:`BudgetedData`, and a module with an ``optimization``
    (:class:`~sextant.optimization.Optimization`).

    Args:
        memory_limit_mb: the most memory that a training step may take above what was taken before, in MB (2^20 bytes).
            On a CPU it has to be given, and is resident memory, which can be measured on Linux alone.
        margin: by what share the budget stays below the largest that fitted, in [0, 1). Between steps, memory falls
            into pieces of which some cannot be used.
        tolerance: to what share that largest one is found, in [0.01, 1).

    Raises:
        InputError: an argument is out of its range, or in ``setup``: the data has no budget, memory cannot be measured,
            or the longest example alone does not fit.
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

    # The train loader is made for the first time after this hook, and as early as the schedules ask for its length.
    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data, BudgetedData):
            raise InputError(
                f"BatchLengthFinder: {type(data).__name__} has no max_batch_length to find. Leave "
                "--batch_length_finder out, or use data in dynamic batches."
            )
        device = trainer.strategy.root_device
        if device.type != "cuda" and self.memory_limit_mb is None:
            raise InputError(
                "BatchLengthFinder.memory_limit_mb is not given, but without a GPU it has to be: the most memory that "
                "a training step may take, as in --batch_length_finder.memory_limit_mb=3000."
            )
        memory = PeakMemory(device)
        if _goes_on(trainer):
            rank_zero_info("BatchLengthFinder: the run goes on with its budget of before.")
            return
        start = time.monotonic()
        least, most = data.batch_length_range
        report: list[str] = []
        with isolate_rng():
            load = partial(self._probe, Trial(trainer, pl_module), data, memory, report)
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
        data.max_batch_length = max(least, _rounded((1 - self.margin) * fitting))
        result = (
            f"max_batch_length={data.max_batch_length}: the largest that fitted, {fitting:g}, less {self.margin:.0%}, "
            f"found in {time.monotonic() - start:.0f} s"
        )
        rank_zero_info(f"BatchLengthFinder: {result}")
        if isinstance(trainer.logger, TensorBoardLogger) and trainer.is_global_zero:
            trainer.logger.experiment.add_text("max_batch_length", "  \n".join([result, *report]))

    def _probe(
        self, trial: "Trial", data: BudgetedData, memory: "PeakMemory", report: list[str], budget: float
    ) -> float:
        """The share of the memory that a budget takes, above 1 where it does not fit; a line of ``report`` says so."""
        memory.reset()
        share = 0.0
        try:
            for batch in data.probe_batches(budget, trial.device):
                trial.step(batch)
        except RuntimeError as error:
            if not is_oom_error(error):
                raise
            share = math.inf
        peak = memory.peak()
        limit = ""
        if self.memory_limit_mb is not None:
            share = max(share, peak / self.memory_limit_mb)
            limit = f" of {self.memory_limit_mb:,g}"
        answer = "fits" if share <= 1 else "out of memory" if share == math.inf else "too much"
        report.append(f"max_batch_length={budget:g} takes {peak:,.0f}{limit} MB: {answer}")
        rank_zero_info(f"BatchLengthFinder: {report[-1]}")
        return share


class Trial:
    """A copy of a module that is trained as the module will be, and leaves no trace but the memory that it takes.

    Args:
        trainer: whose device and precision are used.
        pl_module: what to copy.
    """

    def __init__(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.device = trainer.strategy.root_device
        self._precision = trainer.precision_plugin
        module = copy.deepcopy(pl_module)
        module.trainer = trainer
        module.log = _log_nothing  # type: ignore[method-assign]
        module.setup("fit")  # the module's own comes after those of callbacks
        self._module: Any = self._precision.convert_module(module).to(self.device)
        parameters = [parameter for parameter in self._module.parameters() if parameter.requires_grad]
        optimization: Any = module.optimization
        self._optimizer = optimization.optimizer(parameters)

    def step(self, batch: Any) -> None:
        """Train on a batch."""
        with self._precision.train_step_context():
            output = self._module.training_step(self._precision.convert_input(batch), 0)
        loss: Tensor = output["loss"] if isinstance(output, Mapping) else output
        # As in Lightning's loop, the gradients of the step before are kept until here.
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()


class PeakMemory:
    """The most memory that was in use at a time, above what was in use at first.

    That of a GPU, or the resident memory of the process. For this, large blocks are given back to the system as soon as
    they are freed, from now on to the end of the process. By default the C library keeps them for others of their size;
    with ever new lengths of batches, resident memory then grows for hundreds of steps to more than twice of what is in
    use. What fits into a gap that the heap already has is not given back before the next :meth:`reset`: resident memory
    can be above what is in use by the size of these gaps at most.

    Args:
        device: a GPU, or the CPU.

    Raises:
        InputError: memory cannot be measured here.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before = 0.0
        self.reset()
        self._before = self.peak()

    def reset(self) -> None:
        """Give back what is not in use any more, and look for the peak from here on."""
        garbage_collection_cuda()
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            return
        try:
            library = ctypes.CDLL(None)
            library.mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
            library.malloc_trim(0)
            CLEAR_REFS.write_text("5")  # the peak of resident memory becomes what is resident now
        except (OSError, AttributeError) as error:
            raise InputError(
                f"BatchLengthFinder: resident memory cannot be measured here ({error}): that takes Linux, the GNU C "
                f"library, and permission to write {CLEAR_REFS}. Leave --batch_length_finder out, and give "
                "the data its max_batch_length."
            ) from error

    def peak(self) -> float:
        """The peak since the last :meth:`reset`, in MB (2^20 bytes)."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 2**20 - self._before
        return peak_memory() - self._before


def largest_fitting(load: Callable[[float], float], least: float, most: float, tolerance: float) -> float:
    """Find about the largest budget that fits.

    Args:
        load: the share of the memory that a budget takes; above 1 it does not fit.
        least: the budget to begin with, above 0.
        most: none larger is tried.
        tolerance: by what share it may be below one that does not fit, in [0.01, 1).

    Returns:
        A budget that fits, with four digits at most unless it is ``least`` or ``most``; 0 if not even ``least`` does.
    """
    used = load(least)
    if used > 1:
        return 0.0
    low, high, slope = least, math.inf, used / least
    for _ in range(MOST_PROBES - 1):
        if low == most or low >= (1 - tolerance) * high:
            break
        if high == math.inf:
            # Memory is a constant and what grows with the budget: go on in a straight line to just before it is full.
            full = low + (1 - used) / slope if slope > 0 else math.inf
            budget = min(2 * low, max((1 + tolerance) * low, (1 - tolerance / 2) * full))
        else:
            budget = (low + high) / 2
        budget = min(most, _rounded(budget))
        share = load(budget)
        if share > 1:
            high = budget
        else:
            low, used, slope = budget, share, (share - used) / (budget - low)
    return low


def _rounded(budget: float) -> float:
    """To four digits, so that it can be given by hand."""
    return float(f"{budget:.4g}")


def _log_nothing(*args: Any, **kwargs: Any) -> None:
    pass


def _goes_on(trainer: Trainer) -> bool:
    """Whether a run goes on with a checkpoint."""
    # The Trainer itself says so only after setup, unless its ckpt_path was set by hand.
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    told = [c.configuration.get("ckpt_path") for c in callbacks if isinstance(c, ConfigurationInCheckpoint)]
    return bool(trainer.ckpt_path or any(told))
