"""What a run needs, checked before it: of one part for another, as a Protocol; weights; memory."""

from collections.abc import Mapping
from typing import Protocol, TypeVar, runtime_checkable

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from typing_extensions import get_protocol_members

from sextant.errors import InputError
from sextant.memory import available_memory, free_swap

T = TypeVar("T")

GB = 2**30
#: Bytes of a weight where a run has one type for all.
NUMBER_BYTES = {"16-true": 2, "bf16-true": 2, "64-true": 8}


class Observer(Callback):
    """A callback that only watches: it changes neither what is learned, nor what is measured or called best.

    It may differ between a run and its continuation; any other callback has to be the same.
    """


def require(thing: object, protocol: type[T], user: object) -> T:
    """Require that a module or DataModule has what a callback needs of it.

    Args:
        thing: the module or DataModule; None for a run without a DataModule.
        protocol: what it must have, a ``runtime_checkable`` Protocol. Only the names of its members are checked, so
            these must be telling ones. The first line of its docstring names in a noun phrase what has them.
        user: the callback, for the message.

    Returns:
        The thing itself, as the Protocol.

    Raises:
        InputError: it lacks something; the message says what, and what to do.
    """
    if isinstance(thing, protocol):
        return thing
    name, needed = type(user).__name__, (protocol.__doc__ or "").strip().splitlines()[0].rstrip(".")
    if thing is None:
        found = "a run without a DataModule"
    else:
        missing = sorted(member for member in get_protocol_members(protocol) if not hasattr(thing, member))
        found = f"{type(thing).__name__}, which has no {', '.join(missing)}"
    raise InputError(
        f"{name} cannot be used with {found}. It needs {needed[:1].lower()}{needed[1:]}. Take {name} out of "
        "trainer.callbacks; if it has settings of its own, set them to null."
    )


@runtime_checkable
class Pretrained(Protocol):
    """A module that may need no checkpoint."""

    #: Whether all its weights are published ones.
    pretrained: bool


def need_weights(model: LightningModule, ckpt_path: str | None, random_weights: bool) -> None:
    """Require a checkpoint, a model that needs none, or somebody's word that random weights will do.

    Args:
        model: what is measured, asked or exported.
        ckpt_path: of the command.
        random_weights: whether the command says that they will do.

    Raises:
        InputError: there is neither, or there is more than one.
    """
    if random_weights:
        if ckpt_path is not None:
            raise InputError("--random_weights=true is for commands without a checkpoint: leave it or --ckpt_path out.")
        rank_zero_warn("RANDOM WEIGHTS: what this model says means nothing.")
    elif ckpt_path is None and not (isinstance(model, Pretrained) and model.pretrained):
        raise InputError(
            "This command needs trained weights, and the model was not trained. Give a checkpoint: --ckpt_path=best is "
            "the newest run's. To try things out with a model that knows nothing, say so with --random_weights=true."
        )


def number_bytes(trainer: Trainer) -> int:
    """The bytes of a weight in a run."""
    return NUMBER_BYTES.get(str(trainer.precision), 4)


def sharing(trainer: Trainer, device: torch.device) -> int:
    """How many processes of a run share the memory of a device: on the processor, all of a node."""
    return 1 if device.type == "cuda" else trainer.num_devices


def require_memory(trainer: Trainer, device: torch.device, needs: Mapping[str, int], advice: str) -> None:
    """Require that memory is available before it is taken; all processes of a run call this together.

    Args:
        trainer: of the run.
        device: whose memory it is.
        needs: bytes of all processes that share it, by what they are for. They are to be less than what a run takes,
            so that none is refused that could be run.
        advice: what to do where it is too little.

    Raises:
        InputError: it is too little, on this process or on another one.
    """
    needed, available = sum(needs.values()), available_memory(device) + free_swap(device)
    if trainer.strategy.reduce_boolean_decision(needed <= available):
        return
    if needed <= available:
        raise InputError(f"Another process of the run has not enough memory, as it says. {advice}")
    parts = ", ".join(f"{in_gb(size)} for {what}" for what, size in needs.items() if size)
    processes = sharing(trainer, device)
    of = f"{processes} processes need" if processes > 1 else "run needs"
    raise InputError(
        f"There is not enough memory: the {of} {in_gb(needed)} ({parts}), and {in_gb(available)} are available on "
        f"{device.type} (GB of 2^30 bytes). {advice}"
    )


def in_gb(size: float) -> str:
    """So many bytes for a person."""
    return f"{size / GB:,.2f} GB"
