"""What of a model goes into an exported file, and how its outcome is judged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from typing_extensions import override


@dataclass(frozen=True)
class Axis:
    """A dimension whose size may vary.

    Args:
        name: what it counts.
        example: the size that the network is traced with.
        low: the least that the network takes.
        limit: the most that the network takes, if there is a limit.
        multiple: sizes are multiples of this.
        planned: what takes its place in a file that plans its memory ahead: a size, or an axis with a limit.
    """

    name: str
    example: int
    low: int = 1
    limit: int | None = None
    multiple: int = 1
    planned: "int | Axis | None" = None

    @classmethod
    def of_at_most(cls, name: str, limit: int, low: int = 1, multiple: int = 1) -> "Axis":
        """An axis for a plan of memory, which is made with the largest size.

        A trace with a smaller one may hold only for sizes on the same side of another dimension.
        """
        return cls(name, limit, low, limit, multiple)


#: A whole batch; files that plan their memory ahead take one sample at a time.
BATCH = Axis("batch", example=2, planned=1)


NORMALIZED_IMAGE = "an image: (byte / 255 - mean) / std of the channels red, green and blue"


@dataclass(frozen=True)
class GraphInput:
    """A tensor that an exported file takes.

    Args:
        name: what the file calls it.
        shape: sizes, and axes whose size may vary; the first is the batch.
        dtype: of its numbers.
    """

    name: str
    shape: tuple[int | Axis, ...]
    dtype: torch.dtype = torch.float32

    def example(self) -> Tensor:
        """A tensor of this kind, to trace a network with."""
        return torch.ones([axis if isinstance(axis, int) else axis.example for axis in self.shape], dtype=self.dtype)


class ArgMax(nn.Module):
    """The likeliest of the classes.

    Args:
        dim: the dimension of the classes.
        first: the first class that may be chosen.
    """

    def __init__(self, dim: int, first: int = 0) -> None:
        super().__init__()
        self.dim = dim
        self.first = first

    @override
    def forward(self, scores: Tensor) -> Tensor:
        """Scores with classes in dimension ``dim`` to int64 without that dimension."""
        if self.first == 0:  # nothing to add, which a quantizer would take for a sum of scores
            return scores.argmax(self.dim)
        return scores.narrow(self.dim, self.first, scores.shape[self.dim] - self.first).argmax(self.dim) + self.first


class AboveZero(nn.Module):
    """Yes or no, whichever is likelier by a logit."""

    @override
    def forward(self, logits: Tensor) -> Tensor:
        """Any shape to bool of that shape."""
        return logits > 0


@dataclass(frozen=True)
class ExportGraph:
    """The part of a model that an exported file holds.

    Args:
        network: takes the inputs by position, and gives a tensor, a tuple of them or a dictionary. It has its weights
            and everything else it needs.
        inputs: what it takes. The first dimension of each is the batch.
        outputs: names of what it gives, in that order. The first are the scores that a decision is made of.
        read: takes from a batch of the DataModule what the model's ``forward`` takes.
        decide: scores to decisions.
        names: what the numbers of a decision stand for; empty for numbers without names.
        image_size: usual height and width in pixels, of a network that reads images and nothing else.
        metric: what a validation measures of such a network, and a quantized one should keep.
        valid: which decisions count, bool, from all outputs; all without it.
        fit: makes the inputs from what ``forward`` takes; they are the same without it.
        restore: makes what ``forward`` gives of the outputs and of what it takes; it is the same without it.
        gives_dictionary: whether the network gives a dictionary.
        about: what inputs and outputs are, by their names.
        details: what else users of the file must know, as plain values.
    """

    network: nn.Module
    inputs: tuple[GraphInput, ...]
    outputs: tuple[str, ...]
    read: Callable[[dict[str, Any]], tuple[Tensor, ...]]
    decide: nn.Module
    names: Sequence[str] = field(default=())
    image_size: tuple[int, int] | None = None
    metric: str = ""
    valid: Callable[[tuple[Tensor, ...]], Tensor] | None = None
    fit: Callable[..., tuple[Tensor, ...]] | None = None
    restore: Callable[..., Tensor] | None = None
    gives_dictionary: bool = False
    about: Mapping[str, str] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def axes(self) -> dict[str, Axis]:
        """The dimensions of the inputs whose size may vary, by name."""
        return {axis.name: axis for i in self.inputs for axis in i.shape if isinstance(axis, Axis)}

    def inputs_of(self, batch: dict[str, Any]) -> tuple[Tensor, ...]:
        """The inputs of a batch of the DataModule."""
        taken = self.read(batch)
        return taken if self.fit is None else self.fit(*taken)

    def decisions(self, outputs: tuple[Tensor, ...]) -> Tensor:
        """The decisions that count, (N,)."""
        chosen: Tensor = self.decide(outputs[0])
        return (chosen if self.valid is None else chosen[self.valid(outputs)]).flatten()


@runtime_checkable
class Exportable(Protocol):
    """A module that says what of it goes into an exported file."""

    def export_graph(self) -> ExportGraph:
        """That part, after ``setup`` and with the weights loaded."""


def with_planned_memory(graph: ExportGraph) -> ExportGraph:
    """The same for a file that plans its memory ahead."""

    def planned(size: int | Axis) -> int | Axis:
        return size.planned if isinstance(size, Axis) and size.planned is not None else size

    return replace(graph, inputs=tuple(replace(i, shape=tuple(map(planned, i.shape))) for i in graph.inputs))


def in_order(outputs: Any) -> tuple[Tensor, ...]:
    """A network's outputs as a tuple."""
    if isinstance(outputs, Tensor):
        return (outputs,)
    return tuple(outputs.values() if isinstance(outputs, dict) else outputs)
