"""Dynamic batches: examples of like length together, as many as a budget of padded length allows."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import Sampler
from tqdm import tqdm
from typing_extensions import override

from sextant.errors import InputError
from sextant.samplers.length_order import LengthOrder
from sextant.samplers.packing import halve_largest, pack

SPARE = 0.003  # share of batches beyond what the first epoch takes, so that other epochs fit in as well
CALIBRATIONS = 6  # times that the padding of an epoch is measured to meet the target
CLOSE = 0.1  # share of the target within which it is met
NAMED = 5  # examples that a message names
TooLong = Literal["error", "warn", "drop", "alone"]


@dataclass(frozen=True)
class Summary:
    """What the batches of an epoch are like, over all ranks.

    Args:
        batches: how many.
        examples: in all batches together.
        padding: padded cells as a share of all cells, in [0, 1), of the first kind of length.
        fill: the mean share of the budget that a batch uses; above 1 only where examples are too long.
        smallest: examples in the smallest batch.
        largest: examples in the largest batch.
        shortest: length of the shortest example.
        longest: length of the longest example.
        too_long: examples that are longer than the budget.
        left_out: examples that are in no batch.
    """

    batches: int
    examples: int
    padding: float
    fill: float
    smallest: int
    largest: int
    shortest: float
    longest: float
    too_long: int
    left_out: int

    def __str__(self) -> str:
        return (
            f"{self.batches:,} batches of {self.smallest:,} to {self.largest:,} examples, {self.examples:,} in all, "
            f"{self.shortest:g} to {self.longest:g} long; {100 * self.padding:.1f} % padding, budget filled to "
            f"{100 * self.fill:.1f} %; {self.too_long:,} longer than the budget, {self.left_out:,} left out"
        )


@dataclass(frozen=True)
class Plan:
    """The batches of an epoch in the order of the steps; those of a step, one for each rank, stand together.

    Args:
        order: the examples, int64 (N,).
        starts: where batches begin in ``order``, int64 (batches,).
        sizes: how many examples they have, int64 (batches,).
    """

    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def __getitem__(self, place: int) -> list[int]:
        """The examples of a batch."""
        start = self.starts[place]
        return self.order[start : start + self.sizes[place]].tolist()

    def highest(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of values (N, A) of all examples, the highest in each batch, (batches, A)."""
        in_order = np.concatenate([values[self.order], np.zeros((1, values.shape[1]))])
        by_start = np.argsort(self.starts)
        borders = np.stack([self.starts, self.starts + self.sizes], 1)[by_start]
        highest = np.empty((len(self.starts), values.shape[1]))
        # Every other result is that of what lies between two batches.
        highest[by_start] = np.maximum.reduceat(in_order, borders.ravel())[::2]
        return highest


class DynamicBatchSampler(Sampler[list[int]]):
    """Deal examples of different lengths into batches whose padded length stays within a budget.

    A batch's padded length is its number of examples times the length of the longest one. Batches are filled along a
    random order in which neighbors have like lengths; how like, is said in one of two ways: by ``padding``, the share
    of padding that is acceptable (the order is as random as that allows, see
    :class:`~sextant.samplers.length_order.LengthOrder`), or by buckets of lengths, within which the order is fully
    random and across which no batch goes.

    Every epoch has the same number of batches, a multiple of ``world_size``, and gives every example once. All ranks
    compute the same plan, a pure function of the arguments and the epoch; rank ``r`` takes the ``r``-th batch of each
    step. The batches of a step cost nearly the same.

    Use it as ``DataLoader(dataset, batch_sampler=...)``, with or without Lightning, and call :meth:`set_epoch` before
    each epoch (Lightning does).

    Args:
        lengths: of the examples, (N,), above 0, in any unit; or (N, 2) for two kinds of length, such as audio and
            text, each with a budget of its own.
        max_batch_length: the budget, in the same unit; two numbers for two kinds of length.
        max_batch_ex: the most examples in a batch.
        padding: the share of padding to aim at, in [0, 1); 0.03 if neither this nor buckets are given. 0 sorts. With
            two kinds of length it is aimed at in the one that takes more of its budget.
        num_buckets: so many buckets, fitted to the lengths so that each wastes about as much. 1 is fully random.
        bucket_boundaries: buckets by their upper edges, ascending; what is longer goes into one more.
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
            of how many ranks did them, in order. With another number of ranks, what remains is dealt anew.
        rank: which rank's share to give.
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
        num_buckets: int | None = None,
        bucket_boundaries: Sequence[float] | None = None,
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
        self._lengths = _checked_lengths(lengths)
        self._budgets = _checked_budgets(max_batch_length, self._lengths.shape[1])
        check_options(max_batch_ex, quadratic, rank, world_size)
        if sum(given is not None for given in (padding, num_buckets, bucket_boundaries)) > 1:
            raise InputError("Give one of padding, num_buckets and bucket_boundaries: each says how like lengths are.")
        if padding is not None and not 0 <= padding < 1:
            raise InputError(f"padding is {padding}; it is a share, 0 or more and below 1.")
        if num_buckets is not None and num_buckets < 1:
            raise InputError(f"num_buckets is {num_buckets}; it must be 1 or more.")
        if batch_ordering not in ("random", "ascending", "descending"):
            raise InputError(f"batch_ordering is {batch_ordering!r}; it must be random, ascending or descending.")
        self.max_batch_ex = max_batch_ex
        self.shuffle = shuffle
        self.batch_ordering = batch_ordering
        self.drop_last = drop_last
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self._costs = self._lengths if quadratic is None else self._lengths + self._lengths**2 / quadratic
        self._examples, self._too_long = self._within_budget(too_long)
        # Of several kinds of length, the one that takes most of its budget decides which examples are alike.
        load = (self._costs[self._examples] / self._budgets).max(1) * self._budgets[0]
        if bucket_boundaries is not None:
            self._order = LengthOrder.in_buckets(self._lengths[self._examples, 0], _checked_edges(bucket_boundaries))
        elif num_buckets is not None:
            self._order = LengthOrder.in_fitted_buckets(load, self._budgets[0], num_buckets)
        else:
            aim = 0.03 if padding is None else padding
            self._order = LengthOrder.with_padding(load, self._budgets[0], aim)
            if shuffle and aim:
                self._calibrate(load, aim)
        # What the first epoch takes, and a little more, since others may take more; sorted, they take the fewest.
        natural = len(self._pack(self._draw(0, 1.0))) if shuffle else 0
        natural = max(natural, len(self._pack(self._draw(0, 0.0))))
        self._natural = min(natural + round(natural * SPARE), len(self._examples)) if shuffle else natural
        self.epoch = epoch
        self.done = list(done)
        if not len(self):
            advice = "" if len(self._examples) < world_size else ", or a higher max_batch_length"
            raise InputError(
                f"{len(self._examples)} examples in {natural} batches are too few for {world_size} processes. Use "
                f"fewer processes{advice}."
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
        indices = tqdm(range(len(dataset)), desc="Reading lengths", unit="example", delay=1)
        return cls([length_func(dataset[i]) for i in indices], max_batch_length, **options)

    def _calibrate(self, load: NDArray[np.float64], padding: float) -> None:
        """Adjust the noise to the padding that it really makes, which gaps in the lengths and tails change."""

        def made(share: float) -> float:
            order = self._order.draw(_generator(self.seed, 0, 0, 1), share)
            starts = pack(load[order, None], self._budgets[:1], self.max_batch_ex)
            cells = np.maximum.reduceat(load[order], starts) * np.diff(starts, append=len(order))
            return float(1 - load.sum() / cells.sum())

        below, above = (0.0, made(0.0)), (1.0, made(1.0))  # shares of the noise, with their padding
        if above[1] <= below[1]:
            return
        # Where even sorting pads more than was asked for, some randomness is kept.
        share = float(np.clip(_between(below, above, padding), 0.5, 2.0))
        if below[1] < padding:
            for _ in range(CALIBRATIONS):
                point = (share, made(share))
                if abs(point[1] - padding) <= CLOSE * padding:
                    break
                below, above = (point, above) if point[1] < padding else (below, point)
                if above[1] <= below[1]:  # all that more noise adds
                    break
                share = float(np.clip(_between(below, above, padding), 0.0, 2.0))
        self._order = replace(self._order, noise=share * self._order.noise)

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch; the epoch it is in already is gone on with."""
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
        for place in range(self.rank, len(plan.starts), self.world_size):
            yield plan[place]

    def __len__(self) -> int:
        """The steps of a whole epoch, also when it was begun in its middle."""
        return self._total(self.world_size) // self.world_size

    @property
    def remaining(self) -> int:
        """The steps of the present epoch that are to be given."""
        return len(self._remaining().starts) // self.world_size

    def describe(self) -> Summary:
        """What the batches of the present epoch are like."""
        plan = self.plan(self.epoch)
        kept = np.concatenate([plan[place] for place in range(len(plan.starts))])
        cells = plan.highest(self._lengths)[:, 0] * plan.sizes
        lengths = self._lengths[:, 0]
        return Summary(
            batches=len(plan.sizes),
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

    def plan(self, epoch: int, world_size: int | None = None) -> Plan:
        """The batches of an epoch for a number of ranks, by default as many as there are."""
        world_size = world_size or self.world_size
        # Hardly ever needed: an epoch that takes too many batches is drawn again, then with less and less noise.
        for attempt, share in enumerate((1.0, 1.0, 1.0, 0.5, 0.25, 0.0) if self.shuffle else (0.0,)):
            order = self._draw(epoch, share, attempt)
            starts = self._pack(order)
            if len(starts) <= self._natural:
                break
        sizes = np.diff(starts, append=len(order))
        total = self._total(world_size)
        if len(starts) > total:  # drop_last
            kept = np.sort(np.argsort(-sizes, kind="stable")[:total])
            starts, sizes = starts[kept], sizes[kept]
        starts, sizes = halve_largest(starts, sizes, total)
        return self._in_steps(Plan(order, starts, sizes), world_size, _generator(self.seed, epoch, 0, 2))

    def _remaining(self) -> Plan:
        """What of the present epoch is to be done."""
        world_size = self.done[0][1] if self.done else self.world_size
        plan = self.plan(self.epoch, world_size)
        for steps, ranks in self.done:
            plan = self._dealt_anew(plan, world_size, ranks)
            world_size = ranks
            first = steps * ranks
            plan = Plan(plan.order, plan.starts[first:], plan.sizes[first:])
        return self._dealt_anew(plan, world_size, self.world_size)

    def _dealt_anew(self, plan: Plan, before: int, world_size: int) -> Plan:
        """What remains of a plan for some ranks, for another number of ranks."""
        if world_size == before or not len(plan.starts):
            return plan
        total = -(-len(plan.starts) // world_size) * world_size
        if total > plan.sizes.sum():
            raise InputError(
                f"Only {plan.sizes.sum()} examples of epoch {self.epoch} remain, too few for {world_size} processes. "
                f"Go on with {before} as before until the epoch ends."
            )
        generator = _generator(self.seed, self.epoch, len(plan.starts), 3)
        return self._in_steps(Plan(plan.order, *halve_largest(plan.starts, plan.sizes, total)), world_size, generator)

    def _in_steps(self, plan: Plan, world_size: int, generator: np.random.Generator) -> Plan:
        """Put batches of nearly the same cost into the same step, and the steps into order."""
        if self.batch_ordering == "random":
            by_cost = np.argsort(-self._fill(plan), kind="stable").reshape(-1, world_size)
            sequence = generator.permuted(generator.permutation(by_cost), axis=1).ravel()
        else:
            longest = plan.highest(self._lengths)[:, 0]
            sequence = np.argsort(longest if self.batch_ordering == "ascending" else -longest, kind="stable")
        return Plan(plan.order, plan.starts[sequence], plan.sizes[sequence])

    def _fill(self, plan: Plan) -> NDArray[np.float64]:
        """What share of the budget each batch takes, float (batches,)."""
        highest = plan.highest(self._costs / self._budgets)
        return (highest * plan.sizes[:, None]).max(1)

    def _draw(self, epoch: int, share: float, attempt: int = 0) -> NDArray[np.int64]:
        return self._examples[self._order.draw(_generator(self.seed, epoch, attempt, 1), share)]

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

    def _within_budget(self, too_long: TooLong) -> tuple[NDArray[np.int64], int]:
        """The examples that are dealt, and how many are beyond the budget."""
        beyond = np.flatnonzero((self._costs > self._budgets).any(1))
        everything = np.arange(len(self._costs))
        if not len(beyond) or too_long == "alone":
            return everything, len(beyond)
        named = ", ".join(f"example {i} ({', '.join(f'{x:g}' for x in self._lengths[i])})" for i in beyond[:NAMED])
        more = f" and {len(beyond) - NAMED} more" if len(beyond) > NAMED else ""
        budget = ", ".join(f"{x:g}" for x in self._budgets)
        message = f"{len(beyond)} of {len(everything)} examples are longer than the budget of {budget}: {named}{more}."
        if too_long == "error":
            raise InputError(
                f"{message} Raise max_batch_length, or say with too_long what to do: 'drop' leaves them out, 'alone' "
                "makes each a batch of its own."
            )
        if too_long == "warn":
            rank_zero_warn(f"{message} Each is a batch of its own, beyond the budget.")
            return everything, len(beyond)
        rank_zero_warn(f"{message} They are left out.")
        if len(beyond) == len(everything):
            raise InputError(f"{message} Nothing is left; raise max_batch_length.")
        return np.setdiff1d(everything, beyond), len(beyond)


def _between(below: tuple[float, float], above: tuple[float, float], value: float) -> float:
    """Where the line through two points (x, y) has a value."""
    return below[0] + (value - below[1]) * (above[0] - below[0]) / (above[1] - below[1])


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


def _generator(*key: int) -> np.random.Generator:
    """A stream of random numbers of its own for each key; the last number, not 0, is what they are for.

    numpy takes ``[0, 0, 0]`` for 0, a seed that lengths may well have been drawn with.
    """
    return np.random.default_rng(key)


def _checked_lengths(lengths: ArrayLike) -> NDArray[np.float64]:
    """Lengths as float (N, A)."""
    array = np.asarray(lengths, np.float64)
    if array.ndim not in (1, 2) or array.size == 0:
        raise InputError(f"Lengths of shape {array.shape}; they must be (N,) or (N, kinds), of one example or more.")
    array = array.reshape(len(array), -1)
    wrong = np.flatnonzero(~((array > 0) & np.isfinite(array)).all(1))
    if len(wrong):
        named = ", ".join(f"example {i}: {', '.join(f'{x:g}' for x in array[i])}" for i in wrong[:NAMED])
        more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        raise InputError(f"Lengths must be numbers above 0, but {named}{more}. Leave such examples out.")
    return array


def _checked_budgets(max_batch_length: float | Sequence[float], kinds: int) -> NDArray[np.float64]:
    """Budgets as float (A,)."""
    budgets = np.atleast_1d(np.asarray(max_batch_length, np.float64))
    if budgets.shape != (kinds,):
        raise InputError(
            f"max_batch_length is {max_batch_length}; the examples have {kinds} kinds of length, each of which needs "
            "one."
        )
    if not ((budgets > 0) & np.isfinite(budgets)).all():
        raise InputError(f"max_batch_length is {max_batch_length}; it must be above 0.")
    return budgets


def _checked_edges(boundaries: Sequence[float]) -> NDArray[np.float64]:
    """Upper edges of buckets as float (n,)."""
    edges = np.asarray(boundaries, np.float64)
    if edges.ndim != 1 or not len(edges) or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
        raise InputError(f"bucket_boundaries are {list(boundaries)}; they must be numbers in ascending order.")
    return edges
