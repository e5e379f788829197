"""The layers of a model, with their parameters and their cost, in a table."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelSummary
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.model_summary import ModelSummary as Layers
from torch import Tensor
from torchmetrics import MetricCollection
from typing_extensions import override

from callbacks.terminal.text import say, short, wrapped

#: Of the columns of names, types, parameters and FLOPs: together less than the 80 of a terminal.
WIDTHS = (32, 24, 10, 10)


@runtime_checkable
class Sharded(Protocol):
    """A strategy that keeps parts of parameters on each process."""

    def whole_parameters(self) -> dict[str, int]:
        """The size of each parameter that it splits, by its name."""


class ModelTable(ModelSummary):
    """The layers of a model that have parameters or cost something, with both, and the sums.

    What is counted are the FLOPs of products of matrices and of convolutions in a forward pass of one sample, two for a
    multiplication with its addition. The sample is of the size of the module's ``example_input_array``; without one
    nothing is counted.

    Args:
        max_depth: how deeply layers are nested that are shown.
    """

    def __init__(self, max_depth: int = 2) -> None:
        super().__init__(max_depth)

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        layers = Layers(pl_module, self._max_depth + 1)  # on all processes, which may share a layer
        strategy = trainer.strategy
        whole = strategy.whole_parameters() if isinstance(strategy, Sharded) else {}
        say(model_table(pl_module, layers, self._max_depth, whole))


def model_table(
    module: LightningModule, layers: Layers, max_depth: int, whole: Mapping[str, int] | None = None
) -> Iterator[str]:
    """The lines of the table.

    Args:
        module: whose layers they are.
        layers: Lightning's summary of them, one deeper than what is shown.
        max_depth: how deeply those are nested that are shown.
        whole: the sizes of the parameters of which ``module`` has only parts, or none, by their names.
    """
    beyond = dict(whole or {})  # what the summary does not count
    for name, parameter in module.named_parameters():
        if name in beyond:
            beyond[name] -= parameter.numel()
    sample = next(_tensors(module.example_input_array), None)
    samples = 1 if sample is None else len(sample)
    more = sum(beyond.values())
    total, trained = layers.total_parameters + more, layers.trainable_parameters + more
    whose = " of the first process" if _is_split(module.trainer) else ""
    about = f"{type(module).__name__}: {short(total)} parameters{whose}"
    if trained < total:
        about += f", {short(trained)} of them trained"
    if sample is not None:
        shape = f" for an input of shape {tuple(sample.shape[1:])}" if sample.numel() else ""
        about += f", {short(layers.total_flops / samples)} FLOPs{shape}"
    yield wrapped(about)
    yield _row("layer", "type", "parameters", "FLOPs" if sample is not None else "")
    metrics = {name for name, child in module.named_children() if isinstance(child, MetricCollection)}
    flops = {name: sum(counts.values()) / samples for name, counts in layers.flop_counts.items()}
    seen: dict[str, tuple[int, float]] = {}
    for name, kind, parameters in zip(layers.layer_names, layers.layer_types, layers.param_nums, strict=True):
        parent = name.rpartition(".")[0]
        parameters += sum(size for parameter, size in beyond.items() if parameter.startswith(f"{name}."))
        # A list of layers computes nothing itself.
        cost = flops[name] or sum(each for child, each in flops.items() if child.rpartition(".")[0] == name)
        seen[name] = parameters, cost
        is_shown = name.count(".") < max_depth and name.partition(".")[0] not in metrics
        if is_shown and (parameters or cost) and seen.get(parent) != seen[name]:
            yield _row(name, kind, short(parameters), short(cost) if cost else "")


def _is_split(trainer: Trainer) -> bool:
    """Whether each process has a part of the parameters only."""
    return trainer.world_size > 1 and not isinstance(trainer.strategy, DDPStrategy)


def _row(name: str, kind: str, parameters: str, flops: str) -> str:
    first, second, third, fourth = WIDTHS
    row = f"  {name[-first:]:{first}}{kind[: second - 1]:{second}}{parameters:>{third}}{flops:>{fourth}}"
    return row.rstrip()


def _tensors(example: Any) -> Iterator[Tensor]:
    if isinstance(example, Tensor):
        yield example
    elif isinstance(example, list | tuple):
        for part in example:
            yield from _tensors(part)
