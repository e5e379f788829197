"""What one part of a run needs of another, as a Protocol, checked before the run."""

from typing import Protocol, TypeVar, runtime_checkable

from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from typing_extensions import get_protocol_members

from sextant.errors import InputError

T = TypeVar("T")


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
