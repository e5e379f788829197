"""Arguments of dynamic batches that make no sense, and examples that are longer than the budget."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sextant.errors import InputError

NAMED = 5  # examples that a message names
TooLong = Literal["error", "warn", "drop", "alone"]


def check_options(max_batch_ex: int | None, quadratic: float | None, rank: int, world_size: int) -> None:
    """Refuse options that make no sense, of those that the sampler and the stream have in common.

    Raises:
        InputError: an option is out of its range.
    """
    if max_batch_ex is not None and max_batch_ex < 1:
        raise InputError(f"max_batch_ex is {max_batch_ex}; it must be 1 or more.")
    if quadratic is not None and not 0 < quadratic < math.inf:
        raise InputError(f"quadratic is {quadratic}; it is a length, above 0.")
    if not 0 <= rank < world_size:
        raise InputError(f"rank is {rank}; with a world_size of {world_size} it must be 0 to {world_size - 1}.")


def check_padding(padding: float | None, buckets: int | Sequence[float] | None) -> None:
    """Refuse a padding or buckets that make no sense.

    Raises:
        InputError: both are given, or one is out of its range.
    """
    if padding is not None and buckets is not None:
        raise InputError("Give one of padding and buckets: each says how like the lengths of a batch are.")
    if padding is not None and not 0 <= padding < 1:
        raise InputError(f"padding is {padding}; it is a fraction, 0 or more and below 1.")
    if isinstance(buckets, int):
        if buckets < 1:
            raise InputError(f"buckets is {buckets}; it must be 1 or more, or a list of upper edges.")
    elif buckets is not None:
        edges = np.asarray(buckets, np.float64)
        if edges.ndim != 1 or not len(edges) or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
            raise InputError(f"buckets are {buckets}; give a number, or upper edges in ascending order.")


def checked_lengths(lengths: ArrayLike) -> NDArray[np.float64]:
    """Lengths as float (N, A).

    Raises:
        InputError: there are none, or some are zero, negative or no number.
    """
    array = np.asarray(lengths, np.float64)
    if array.ndim not in (1, 2) or array.size == 0:
        raise InputError(f"Lengths of shape {array.shape}; they must be (N,) or (N, kinds), of one example or more.")
    array = array.reshape(len(array), -1)
    wrong = np.flatnonzero(~((array > 0) & np.isfinite(array)).all(1))
    if len(wrong):
        named = ", ".join(f"example {i}: {', '.join(f'{x:g}' for x in array[i])}" for i in wrong[:NAMED])
        raise InputError(
            f"Lengths must be numbers above 0, but {named}{and_more(len(wrong))}. Leave such examples out."
        )
    return array


def checked_budgets(max_batch_length: float | Sequence[float], kinds: int) -> NDArray[np.float64]:
    """Budgets as float (A,), one for each kind of length.

    Raises:
        InputError: there are more or fewer than kinds of length, or one is not above 0.
    """
    budgets = np.atleast_1d(np.asarray(max_batch_length, np.float64))
    if budgets.shape != (kinds,):
        raise InputError(
            f"max_batch_length is {max_batch_length}; the examples have {kinds} kinds of length, each of which needs "
            "one."
        )
    if not ((budgets > 0) & np.isfinite(budgets)).all():
        raise InputError(f"max_batch_length is {max_batch_length}; it must be above 0.")
    return budgets


def budget_text(budgets: Sequence[float] | NDArray[np.float64], quadratic: float | None) -> str:
    """The budgets, and what is compared with them where that is not the length."""
    numbers = ", ".join(f"{budget:g}" for budget in budgets)
    return numbers if quadratic is None else f"{numbers} (as L + L^2 / {quadratic:g})"


def too_long_message(named: Sequence[str], too_long: int, examples: int, budget: str) -> str:
    """The sentence about examples that are longer than the budget, which names the first of them."""
    return (
        f"{too_long} of {examples} examples are longer than the budget of {budget}: "
        f"{', '.join(named)}{and_more(too_long)}."
    )


def and_more(count: int) -> str:
    """The words for those of a number of examples that a message does not name."""
    return f" and {count - NAMED} more" if count > NAMED else ""
