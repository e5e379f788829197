"""Dynamic batches: examples of like length together, as many as a budget of padded length allows."""

import hashlib
import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import Sampler
from tqdm import tqdm
from typing_extensions import override

from sextant.errors import InputError
from sextant.samplers.checks import (
    NAMED,
    TooLong,
    budget_text,
    check_options,
    check_padding,
    checked_budgets,
    checked_lengths,
    too_long_message,
)
from sextant.samplers.length_order import LengthOrder
from sextant.samplers.packing import pack
from sextant.samplers.plan import Plan
from sextant.samplers.state import position_state, read_position
from sextant.samplers.summary import Summary

SPARE = 0.003  # fraction of batches beyond what the first epoch takes, so that other epochs fit in as well
PADDING = 0.03  # where nothing is said
NOISE = (1.0, 1.0, 1.0, 0.5, 0.25, 0.0)  # fractions with which an epoch that takes too many batches is drawn again


class DynamicBatchSampler(Sampler[list[int]]):
    """Batches of examples of different lengths whose padded length stays within a budget.

    A batch's padded length is its number of examples times the length of the longest one. Batches are filled along a
    random order in which neighbors have like lengths. How like, is said in one of two ways: by ``padding``, the
    fraction of padding that is acceptable (the order is as random as that allows, see
    :class:`~sextant.samplers.length_order.LengthOrder`), or by ``buckets`` of lengths, within which the order is fully
    random and across which no batch goes.

    Every epoch has the same number of batches, a multiple of ``world_size``, and gives every example once. All ranks
    compute the same plan, a pure function of the arguments and the epoch; rank ``r`` takes the ``r``-th batch of each
    step. The batches of a step cost nearly the same.

    Use it as ``DataLoader(dataset, batch_sampler=...)``, with or without Lightning, and call :meth:`set_epoch` before
    each epoch (Lightning does). :meth:`state_dict` and :meth:`load_state_dict` make a loop of one's own resume exactly.

    Args:
        lengths: of the examples, (N,), above 0, in any unit; or (N, 2) for two kinds of length, such as audio and
            text, each with a budget of its own.
        max_batch_length: the budget, in the same unit; two numbers for two kinds of length.
        max_batch_ex: the most examples in a batch.
        padding: the fraction of padding to aim at, in [0, 1); 0.03 if neither this nor ``buckets`` is given. 0 sorts.
            With two kinds of length it is aimed at in the one that takes more of its budget.
        buckets: a number of buckets, fitted to the lengths so that each wastes about as much (1 is fully random); or
            their upper edges, ascending, where what is longer goes into one more.
        quadratic: for models with attention, ``q`` of the cost ``L + L^2 / q`` that then takes the place of the length
            in the budget: the length at which attention costs as much as everything else.
        shuffle: whether each epoch has a new order; without it, examples are sorted by length and keep their batches.
        batch_ordering: of the batches of an epoch: ``random``, or by the longest example, ``ascending`` or
            ``descending``.
        too_long: what to do about examples beyond the budget: stop (``error``), make each a batch of its own with a
            warning (``warn``) or without (``alone``), or leave them out with a warning (``drop``).
        drop_last: where the batches do not divide by ``world_size``, leave out the smallest ones that are over instead
            of making more by halving the largest.
        seed: seed of the order.
        epoch: the epoch to start with.
        done: the steps of that epoch to leave out, because they were done before a restart: pairs of their number and
            of how many ranks did them, in order. Another number of ranks gets the batches that remain in new steps.
        rank: the rank whose batches to give.
        world_size: number of ranks.

    Raises:
        InputError: an argument makes no sense, a length is zero, negative or no number, an example is longer than the
            budget, or there are fewer examples than ranks.
    """

    def __init__(
        self,
        lengths: ArrayLike,
        max_batch_length: float | Sequence[float],
        *,
        max_batch_ex: int | None = None,
        padding: float | None = None,
        buckets: int | Sequence[float] | None = None,
        quadratic: float | None = None,
        shuffle: bool = True,
        batch_ordering: Literal["random", "ascending", "descending"] = "random",
        too_long: TooLong = "error",
        drop_last: bool = False,
        seed: int = 0,
        epoch: int = 0,
        done: Sequence[tuple[int, int]] = (),
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._lengths = checked_lengths(lengths)
        self._budgets = checked_budgets(max_batch_length, self._lengths.shape[1])
        check_options(max_batch_ex, quadratic, rank, world_size)
        check_padding(padding, buckets)
        if batch_ordering not in ("random", "ascending", "descending"):
            raise InputError(f"batch_ordering is {batch_ordering!r}; it must be random, ascending or descending.")
        self.max_batch_ex = max_batch_ex
        self.padding = PADDING if padding is None and buckets is None else padding
        self.buckets = buckets if buckets is None or isinstance(buckets, int) else [float(edge) for edge in buckets]
        self.quadratic = quadratic
        self.shuffle = shuffle
        self.batch_ordering = batch_ordering
        self.drop_last = drop_last
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self._costs = self._lengths if quadratic is None else self._lengths + self._lengths**2 / quadratic
        self._examples, self._too_long = self._within_budget(too_long)
        self._order = self._length_order()
        self._natural = self._natural_batches()
        self.epoch = epoch
        self.done = list(done)
        if not len(self):
            advice = "" if len(self._examples) < world_size else ", or a higher max_batch_length"
            raise InputError(
                f"{len(self._examples)} examples in {self._natural} batches are too few for {world_size} processes. "
                f"Use fewer processes{advice}."
            )

    @classmethod
    def of_dataset(
        cls,
        dataset: Sequence[Any],
        length_func: Callable[[Any], float | Sequence[float]],
        max_batch_length: float | Sequence[float],
        **options: Any,
    ) -> "DynamicBatchSampler":
        """The sampler of a dataset whose lengths are not known beforehand: each example is read once.

        Args:
            dataset: with a length, gives an example for an index.
            length_func: gives an example's length, or its two kinds of length.
            max_batch_length: the budget.
            options: all other arguments of the class.
        """
        return cls(read_lengths(dataset, length_func), max_batch_length, **options)

    # --- the position ------------------------------------------------------------------------------------------------

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch; in the epoch it is in already, it stays where it is."""
        if epoch != self.epoch:
            self.epoch = epoch
            self.done = []

    @property
    def sampler(self) -> "DynamicBatchSampler":
        """Itself: Lightning calls ``set_epoch`` on the sampler of a loader's batch sampler only."""
        return self

    @override
    def __iter__(self) -> Iterator[list[int]]:
        # It may be asked for before set_epoch and more than once, so a position is read, never consumed.
        plan = self._remaining()
        for place in range(self.rank, len(plan), self.world_size):
            yield plan[place]

    def __len__(self) -> int:
        """The steps of a whole epoch, also where some of them are done already."""
        return self._total(self.world_size) // self.world_size

    @property
    def remaining(self) -> int:
        """The steps of the present epoch that are to be given."""
        return len(self._remaining()) // self.world_size

    def state_dict(self, steps: int) -> dict[str, Any]:
        """The position as plain values, the same on all ranks.

        A loader with workers takes batches from the sampler long before they are trained on, so only the loop knows
        how far it is.

        Args:
            steps: batches of the present epoch that the loop has done since the epoch's start, or in the epoch that it
                was resumed in since :meth:`load_state_dict`.

        Raises:
            InputError: the epoch does not have so many.
        """
        if not 0 <= steps <= self.remaining:
            raise InputError(
                f"{steps} steps of epoch {self.epoch} are said to be done, of {self.remaining} that it had. Count the "
                "batches of the present epoch since its start, or since the state was loaded."
            )
        return position_state(self.epoch, self.done, steps, self.world_size, self._settings)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to the position of a state, also with another number of ranks. Loop from ``epoch`` on.

        Args:
            state: what :meth:`state_dict` returned.

        Raises:
            InputError: it is of other lengths or settings, so that the batches would be other ones.
        """
        self.epoch, self.done = read_position(state, self._settings)

    @cached_property
    def _settings(self) -> dict[str, Any]:
        """What the batches depend on, besides the epoch and the number of ranks."""
        return {
            "examples": len(self._examples),
            "lengths": hashlib.sha256(self._lengths[self._examples].tobytes()).hexdigest(),
            "max_batch_length": self._budgets.tolist(),
            **{
                name: getattr(self, name)
                for name in (
                    *("max_batch_ex", "padding", "buckets", "quadratic", "shuffle", "batch_ordering", "drop_last"),
                    "seed",
                )
            },
        }

    # --- what the batches are like -----------------------------------------------------------------------------------

    def describe(self) -> Summary:
        """The figures of the batches of the present epoch."""
        plan = self.plan(self.epoch)
        kept = np.concatenate([plan[place] for place in range(len(plan))])
        cells = plan.highest(self._lengths)[:, 0] * plan.sizes
        lengths = self._lengths[:, 0]
        return Summary(
            batches=len(plan),
            examples=len(kept),
            padding=float(1 - lengths[kept].sum() / cells.sum()),
            fill=float(self._fill(plan).mean()),
            smallest=int(plan.sizes.min()),
            largest=int(plan.sizes.max()),
            shortest=float(lengths.min()),
            longest=float(lengths.max()),
            too_long=self._too_long,
            left_out=len(lengths) - len(kept),
        )

    def batch_edges(self) -> NDArray[np.float64]:
        """The longest example of each batch of the present epoch, over all ranks, float (batches,), ascending."""
        return np.sort(self.plan(self.epoch).highest(self._lengths)[:, 0])

    @property
    def lengths(self) -> NDArray[np.float64]:
        """The lengths of all examples, of the first kind, float (N,)."""
        return self._lengths[:, 0]

    # --- plans -------------------------------------------------------------------------------------------------------

    def plan(self, epoch: int, world_size: int | None = None) -> Plan:
        """The batches of an epoch for a number of ranks, by default as many as there are."""
        world_size = world_size or self.world_size
        # Hardly ever needed: an epoch that takes too many batches is drawn again, then with less and less noise.
        for attempt, noise in enumerate(NOISE if self.shuffle else (0.0,)):
            order = self._draw(epoch, noise, attempt)
            starts = self._pack(order)
            if len(starts) <= self._natural:
                break
        plan = Plan(order, starts, np.diff(starts, append=len(order)))
        total = self._total(world_size)
        if len(plan) > total:  # drop_last
            plan = plan.largest(total)
        return self._in_steps(plan.divided(total), world_size, _generator(self.seed, epoch, 0, 2))

    def _remaining(self) -> Plan:
        """What of the present epoch is to be done."""
        world_size = self.done[0][1] if self.done else self.world_size
        plan = self.plan(self.epoch, world_size)
        for steps, ranks in self.done:
            plan = self._for_ranks(plan, world_size, ranks).select(slice(steps * ranks, None))
            world_size = ranks
        return self._for_ranks(plan, world_size, self.world_size)

    def _for_ranks(self, plan: Plan, before: int, world_size: int) -> Plan:
        """What remains of a plan for some ranks, for another number of ranks."""
        if world_size == before or not len(plan):
            return plan
        total = -(-len(plan) // world_size) * world_size
        if total > plan.sizes.sum():
            raise InputError(
                f"Only {plan.sizes.sum()} examples of epoch {self.epoch} remain, too few for {world_size} processes. "
                f"Go on with {before} as before until the epoch ends."
            )
        return self._in_steps(plan.divided(total), world_size, _generator(self.seed, self.epoch, len(plan), 3))

    def _in_steps(self, plan: Plan, world_size: int, generator: np.random.Generator) -> Plan:
        """Put batches of nearly the same cost into the same step, and the steps into order."""
        if self.batch_ordering == "random":
            by_cost = np.argsort(-self._fill(plan), kind="stable").reshape(-1, world_size)
            return plan.select(generator.permuted(generator.permutation(by_cost), axis=1).ravel())
        longest = plan.highest(self._lengths)[:, 0]
        return plan.select(np.argsort(longest if self.batch_ordering == "ascending" else -longest, kind="stable"))

    def _fill(self, plan: Plan) -> NDArray[np.float64]:
        """The fraction of the budget that each batch takes, float (batches,)."""
        highest = plan.highest(self._costs / self._budgets)
        fractions: NDArray[np.float64] = (highest * plan.sizes[:, None]).max(1)
        return fractions

    def _draw(self, epoch: int, noise: float, attempt: int = 0) -> NDArray[np.int64]:
        return self._examples[self._order.draw(_generator(self.seed, epoch, attempt, 1), noise)]

    def _pack(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where batches begin in an order; none goes across buckets."""
        costs = self._costs[order]
        if not self._order.buckets.any():
            return pack(costs, self._budgets, self.max_batch_ex)
        edges = np.concatenate([[0], np.bincount(self._order.buckets).cumsum()])
        return np.concatenate(
            [pack(costs[a:b], self._budgets, self.max_batch_ex) + a for a, b in itertools.pairwise(edges)]
        )

    def _total(self, world_size: int) -> int:
        """The batches of an epoch; 0 if there cannot be as many as ranks."""
        whole_steps = self._natural / world_size
        total = (math.floor if self.drop_last else math.ceil)(whole_steps) * world_size
        return total if total <= len(self._examples) else 0

    # --- once, before the first plan ---------------------------------------------------------------------------------

    def _within_budget(self, too_long: TooLong) -> tuple[NDArray[np.int64], int]:
        """The examples that batches are made of, and how many are beyond the budget."""
        beyond = np.flatnonzero((self._costs > self._budgets).any(1))
        everything = np.arange(len(self._costs))
        if not len(beyond) or too_long == "alone":
            return everything, len(beyond)
        named = [f"example {i} ({', '.join(f'{x:g}' for x in self._lengths[i])})" for i in beyond[:NAMED]]
        budget = budget_text(self._budgets, self.quadratic)
        message = too_long_message(named, len(beyond), len(everything), budget)
        if too_long == "error":
            raise InputError(
                f"{message} Raise max_batch_length, or say with too_long what to do: 'drop' leaves them out, 'alone' "
                "makes each a batch of its own."
            )
        dropped = too_long == "drop"
        if dropped and len(beyond) == len(everything):
            raise InputError(f"{message} Nothing is left; raise max_batch_length.")
        if self.rank == 0:
            then = "They are left out." if dropped else "Each is a batch of its own, beyond the budget."
            warnings.warn(f"{message} {then}", stacklevel=3)
        return np.setdiff1d(everything, beyond) if dropped else everything, len(beyond)

    def _length_order(self) -> LengthOrder:
        # Of several kinds of length, the one that takes most of its budget decides which examples are alike.
        budget = self._budgets[0]
        load = (self._costs[self._examples] / self._budgets).max(1) * budget
        if isinstance(self.buckets, int):
            return LengthOrder.in_fitted_buckets(load, budget, self.buckets)
        if self.buckets is not None:
            return LengthOrder.in_buckets(self._lengths[self._examples, 0], self.buckets)
        assert self.padding is not None
        order = LengthOrder.with_padding(load, budget, self.padding)
        if not (self.shuffle and self.padding):
            return order
        return order.calibrated(load, budget, self.max_batch_ex, self.padding, lambda: _generator(self.seed, 0, 0, 1))

    def _natural_batches(self) -> int:
        """What the first epoch takes, and a little more, since others may take more; sorted, they take the fewest."""
        by_length = len(self._pack(self._draw(0, 0.0)))
        if not self.shuffle:
            return by_length
        natural = max(len(self._pack(self._draw(0, 1.0))), by_length)
        return min(natural + round(natural * SPARE), len(self._examples))


def read_lengths(examples: Sequence[Any], length_func: Callable[[Any], Any]) -> list[Any]:
    """The length of each example, with a progress bar where it takes long."""
    indices = tqdm(range(len(examples)), desc="Reading lengths", unit="example", delay=1)
    return [length_func(examples[i]) for i in indices]


def _generator(*key: int) -> np.random.Generator:
    """A stream of random numbers of its own for each key; the last number, not 0, is what they are for.

    numpy takes ``[0, 0, 0]`` for 0, a seed that lengths may well have been drawn with.
    """
    return np.random.default_rng(key)
