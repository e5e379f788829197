"""What one part of a run needs of another, as a Protocol, checked before the run."""

from typing import TypeVar

from typing_extensions import get_protocol_members

from sextant.errors import InputError

T = TypeVar("T")


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
