"""Optimizers, parameter groups and learning-rate schedules of every module."""

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable, ReduceLROnPlateau
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from typing_extensions import override

from sextant.errors import InputError
from sextant.lightning_internals import callbacks_of

NEVER = sys.maxsize  # epochs between two steps of a schedule that Lightning leaves alone


class RunSchedule(LRScheduler):
    """A learning-rate schedule over the whole run, stepped once per optimizer step.

    :class:`Optimization` sets ``total_steps`` to the Trainer's number of steps.

    Args:
        optimizer: its learning rates are the peak rates.
        total_steps: number of steps of the run.
    """

    def __init__(self, optimizer: Optimizer, total_steps: int) -> None:
        self.total_steps = total_steps
        super().__init__(optimizer)

    #: The attributes that give the schedule its shape. They are configuration, so not part of its state.
    shape: tuple[str, ...] = ("total_steps",)

    def factor(self, step: int) -> float:
        """The learning rate at a step (the first is 0), as a fraction of the peak rate."""
        raise NotImplementedError

    @override
    def get_lr(self) -> list[float | Tensor]:
        return [peak * self.factor(self.last_epoch) for peak in self.base_lrs]

    @override
    def state_dict(self) -> dict[str, Any]:
        return {k: v for k, v in super().state_dict().items() if k not in self.shape}


class WarmupCosine(RunSchedule):
    """Linear warm-up, then cosine annealing.

    Source: Loshchilov and Hutter 2017 (https://arxiv.org/abs/1608.03983) without restarts; warm-up as in
    Goyal et al. 2017 (https://arxiv.org/abs/1706.02677).

    Args:
        optimizer: its learning rates are the peak rates.
        warmup: fraction of all steps in which the rate rises linearly, between 0 and 1.
        final: the rate after the last step, as a fraction of the peak rate.
        total_steps: number of steps of the run.
    """

    shape = (*RunSchedule.shape, "warmup", "final")

    def __init__(self, optimizer: Optimizer, warmup: float = 0.05, final: float = 0.0, total_steps: int = 1) -> None:
        self.warmup = warmup
        self.final = final
        super().__init__(optimizer, total_steps)

    @override
    def factor(self, step: int) -> float:
        warmup_steps = self.warmup * self.total_steps
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        done = min(1.0, (step - warmup_steps) / max(1.0, self.total_steps - warmup_steps))
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * done))


class PolynomialDecay(RunSchedule):
    """Polynomial decay to zero: a power of the fraction of the run that is left.

    Source: Liu et al. 2015 (https://arxiv.org/abs/1506.04579), "poly" in Chen et al. 2017.

    Args:
        optimizer: its learning rates are the peak rates.
        power: 1 decays linearly; a lower one keeps the rate high for longer.
        total_steps: number of steps of the run.

    Raises:
        InputError: the power is not above 0.
    """

    shape = (*RunSchedule.shape, "power")

    def __init__(self, optimizer: Optimizer, power: float = 0.9, total_steps: int = 1) -> None:
        if power <= 0:
            raise InputError(f"model.scheduler.power is {power}; it must be above 0.")
        self.power = power
        super().__init__(optimizer, total_steps)

    @override
    def factor(self, step: int) -> float:
        return float(max(0.0, 1 - step / max(1, self.total_steps)) ** self.power)


def parameter_groups(network: nn.Module, decay_norm_and_bias: bool) -> list[dict[str, Any]]:
    """Parameter groups with and without weight decay; two have a ``name``, under which their rates are logged.

    Args:
        network: whose parameters.
        decay_norm_and_bias: True puts all into one group. False makes a second group, without weight decay, of those
            with one dimension or none: biases and the scales of normalization (He et al. 2019,
            https://arxiv.org/abs/1812.01187, section 3.1).
    """
    trained = [p for p in network.parameters() if p.requires_grad]
    if decay_norm_and_bias:
        return [{"params": trained}]
    return [
        {"params": [p for p in trained if p.ndim > 1], "name": "decay"},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0, "name": "no_decay"},
    ]


def named_groups(part: str, groups: Sequence[dict[str, Any]], lr_factor: float = 1.0) -> list[dict[str, Any]]:
    """Parameter groups of a part of a model, named after it, with a learning rate of their own.

    Args:
        part: such as ``backbone``.
        groups: as of :func:`parameter_groups`.
        lr_factor: the learning rate as a multiple of the optimizer's.
    """
    names = [f"{part}/{group['name']}" if "name" in group else part for group in groups]
    return [group | {"name": name, "lr_factor": lr_factor} for name, group in zip(names, groups, strict=True)]


@dataclass(frozen=True)
class Optimization:
    """What makes a module's optimizer and its learning-rate schedule.

    A deep copy of a module shares this object: what the command line gives as ``optimizer`` refers to the whole command
    line, the Trainer included, which must not be copied.

    Args:
        optimizer: makes the optimizer from parameter groups.
        scheduler: makes the schedule from the optimizer. A :class:`RunSchedule` is stepped with the optimizer and
            spans the run; a ``ReduceLROnPlateau`` is stepped with each validation (:class:`PlateauStep`); any other at
            the end of each epoch, as in torch's documentation.

    Raises:
        InputError: the optimizer refuses its settings.
    """

    optimizer: OptimizerCallable
    scheduler: LRSchedulerCallable | None = None

    def __post_init__(self) -> None:
        try:
            self.optimizer([nn.Parameter(torch.empty(1, 1))])
        except ValueError as error:
            raise InputError(f"The optimizer cannot have these settings: {error}.") from error
        except RuntimeError:  # it can be made for parameters on a GPU only
            pass

    def __deepcopy__(self, memo: dict[int, Any]) -> "Optimization":
        return self

    def configure(self, module: LightningModule, groups: list[dict[str, Any]]) -> Any:
        """Build what :meth:`LightningModule.configure_optimizers` returns.

        Args:
            module: what is optimized.
            groups: its parameters, as torch's optimizers take them; a group's ``lr_factor`` makes its learning rate a
                multiple of the optimizer's.

        Raises:
            InputError: the schedule spans the run, and the run has no number of steps.
        """
        optimizer = self.optimizer(groups)
        for group in optimizer.param_groups:
            group["lr"] *= group.get("lr_factor", 1.0)
        if self.scheduler is None:
            return optimizer
        scheduler = self.scheduler(optimizer)
        config: dict[str, Any] = {"scheduler": scheduler, "interval": "epoch"}
        if isinstance(scheduler, RunSchedule):
            steps = module.trainer.estimated_stepping_batches
            if steps in (-1, math.inf):
                raise InputError(
                    f"model.scheduler is {type(scheduler).__name__}, which spans the run, but how many steps the run "
                    "has is not known beforehand: there is no limit to its epochs, or its training data is a stream. "
                    "Give --trainer.max_steps."
                )
            scheduler.total_steps = int(steps)
            for group, rate in zip(optimizer.param_groups, scheduler.get_lr(), strict=True):
                group["lr"] = rate  # it was set from the total_steps of the constructor
            config["interval"] = "step"
        if isinstance(scheduler, ReduceLROnPlateau):
            config["monitor"] = scheduler.monitor
            if any(isinstance(callback, PlateauStep) for callback in callbacks_of(module.trainer)):
                config["frequency"] = NEVER
        return {"optimizer": optimizer, "lr_scheduler": config}


class PlateauStep(Callback):
    """The step of a ``ReduceLROnPlateau``, taken right after each validation.

    Lightning's own comes after the checkpoint at the end of the epoch was written: a run that goes on from that
    checkpoint has the rate of before. :meth:`Optimization.configure` leaves the step to this callback where it is among
    those of the run, and to Lightning elsewhere.

    Raises:
        InputError: the schedule looks at a metric that is not measured, or the run has no validation.
    """

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if _plateaus(trainer) and not trainer.enable_validation:
            raise InputError(
                "model.scheduler is ReduceLROnPlateau, which follows the validations, but this run has none. Give "
                "validation data and a --trainer.limit_val_batches above 0, or another model.scheduler."
            )

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        for scheduler in _plateaus(trainer):
            if scheduler.monitor not in trainer.callback_metrics:
                measured = ", ".join(name for name in trainer.callback_metrics if name.startswith("val/")) or "nothing"
                raise InputError(f"model.scheduler.monitor is {scheduler.monitor!r}; a validation measures {measured}.")
            pl_module.lr_scheduler_step(scheduler, trainer.callback_metrics[scheduler.monitor])


def _plateaus(trainer: Trainer) -> list[ReduceLROnPlateau]:
    return [
        config.scheduler
        for config in trainer.lr_scheduler_configs
        if isinstance(config.scheduler, ReduceLROnPlateau) and config.frequency == NEVER
    ]


def state_bytes(make: OptimizerCallable, shapes: Iterable[torch.Size], number: int) -> int:
    """The bytes of an optimizer's state after its first step; of what it is not known of, none.

    Args:
        make: makes the optimizer.
        shapes: of its parameters.
        number: bytes of a number.
    """
    parameter = nn.Parameter(torch.zeros(2, 3, device="cpu"))
    parameter.grad = torch.zeros_like(parameter)
    try:
        optimizer = make([{"params": [parameter]}])
        optimizer.step()
    except (RuntimeError, TypeError, ValueError, AttributeError):  # one that needs more than a gradient
        return 0
    kept = [value for value in optimizer.state[parameter].values() if isinstance(value, Tensor)]
    cells = sum(value.shape == parameter.shape for value in kept)
    rows = sum(value.numel() == 2 for value in kept)
    return sum(number * (cells * shape.numel() + rows * (shape[0] if len(shape) == 2 else 0)) for shape in shapes)
