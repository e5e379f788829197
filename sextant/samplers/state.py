"""The position in an epoch of dynamic batches as plain values, for the checkpoints of a loop of one's own."""

from collections.abc import Mapping, Sequence
from typing import Any

from sextant.errors import InputError

Done = Sequence[tuple[int, int]]


def position_state(epoch: int, done: Done, steps: int, world_size: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The position after some more steps.

    Args:
        epoch: the present epoch.
        done: its steps before a restart: pairs of their number and of how many ranks did them, in order.
        steps: its steps since then.
        world_size: number of ranks that did them.
        settings: what the order of the batches depends on, as plain values.
    """
    together = [list(pair) for pair in done]
    if together and together[-1][1] == world_size:
        together[-1][0] += steps
    elif steps:
        together.append([steps, world_size])
    return {"epoch": epoch, "done": together, "settings": dict(settings)}


def read_position(state: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[int, list[tuple[int, int]]]:
    """The epoch of a state, and its steps that are done.

    Args:
        state: made by :func:`position_state`.
        settings: those of the sampler or stream that shall go on.

    Raises:
        InputError: the state is of something else, or of batches in another order.
    """
    if set(state) != {"epoch", "done", "settings"}:
        raise InputError(
            f"This is no state of dynamic batches: it has {sorted(map(str, state))}. Give what state_dict returned."
        )
    before = state["settings"]
    for name in {**before, **settings}:
        if before.get(name) != settings.get(name):
            raise InputError(
                f"The state is of batches in another order: its {name} is {before.get(name)!r}, here it is "
                f"{settings.get(name)!r}. Go on with the lengths and settings that it was saved with."
            )
    return state["epoch"], [(steps, ranks) for steps, ranks in state["done"]]
