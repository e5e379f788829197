"""What one part of a run needs of another, as a Protocol, checked before the run."""

from typing import TypeVar

from typing_extensions import get_protocol_members

from sextant.errors import InputError

T = TypeVar("T")


def require(thing: object, protocol: type[T], user: object) -> T:
    """Require that a module or DataModule has what a callback needs of it.

    Args:
        thing: the module or DataModule.
        protocol: what it must have, a ``runtime_checkable`` Protocol with a docstring.
        user: the callback, for the message.

    Returns:
        The thing itself, as the Protocol.

    Raises:
        InputError: it lacks something; the message says what, and what to do.
    """
    if isinstance(thing, protocol):
        return thing
    missing = sorted(name for name in get_protocol_members(protocol) if not hasattr(thing, name))
    name = type(user).__name__
    raise InputError(
        f"{name} cannot be used with {type(thing).__name__}, which has no {', '.join(missing)}. It needs "
        f"{(protocol.__doc__ or '').strip().splitlines()[0].rstrip('.').lower()}. Take {name} out of trainer.callbacks."
    )
