"""Dynamic batches of a stream, whose lengths are not known beforehand."""

import bisect
import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info
from typing_extensions import override

from sextant.errors import InputError
from sextant.samplers.checks import NAMED, TooLong, budget_text, check_options, too_long_message
from sextant.samplers.packing import halve_largest
from sextant.samplers.state import position_state, read_position

Example = TypeVar("Example")


class DynamicBatchStream(IterableDataset[Any], Generic[Example]):
    """Batches of a stream of examples of different lengths whose padded length stays within a budget.

    For what can only be read in order; where all lengths are known,
    :class:`~sextant.samplers.dynamic.DynamicBatchSampler` chooses better and has a length.

    A buffer holds examples, sorted by length. A batch is made around the oldest of them, so that none waits for ever:
    of the windows of the sorted buffer that hold it and as many others as the budget allows, one is drawn. Then the
    buffer is filled up again. At the end of the stream it is emptied. The larger it is, the less padding.

    Every rank, and every worker of a loader, goes through the whole stream and makes the same batches, a pure function
    of the stream, the arguments and the epoch. Of ``world_size`` batches, which make a step, rank ``r`` takes the
    ``r``-th, and worker ``w`` of ``W`` gives those of every ``W``-th step. Only what a worker gives is collated, so
    examples should be light: a length and a place to read from. Nothing is dropped or repeated: batches are divided
    until the last step has one for each rank.

    Use it as ``DataLoader(stream, batch_size=None)``; its workers may be persistent. Call :meth:`set_epoch` before each
    epoch. :meth:`state_dict` and :meth:`load_state_dict` make a loop of one's own resume exactly, at the cost of going
    through the examples of the epoch up to the position, of which none is collated.

    Args:
        examples: gives the examples of an epoch in their order, the same on every call. ``str()`` of an example names
            it in messages.
        length: of an example, above 0, in any unit.
        collate: makes a batch of examples.
        max_batch_length: the most that the number of examples times the longest length may be in a batch.
        buffer: number of examples that are held.
        max_batch_ex: the most examples in a batch.
        quadratic: for models with attention, ``q`` of the cost ``L + L^2 / q`` that then takes the place of the length
            in the budget.
        too_long: what to do about examples beyond the budget: stop (``error``), make each a batch of its own with a
            warning at the end of the epoch (``warn``) or without (``alone``), or leave them out with such a warning
            (``drop``).
        seed: seed of the windows.
        epoch: the epoch to start with.
        done: the steps of that epoch to leave out, because they were done before a restart: pairs of their number and
            of how many ranks did them, in order. Another number of ranks gets the batches that remain in new steps.
        rank: the rank whose batches to give.
        world_size: number of ranks.

    Raises:
        InputError: an argument makes no sense. While iterating: a length is zero, negative or no number, an example is
            longer than the budget, or too few examples remain to give each rank a batch.
    """

    def __init__(
        self,
        examples: Callable[[int], Iterable[Example]],
        length: Callable[[Example], float],
        collate: Callable[[list[Example]], Any],
        max_batch_length: float,
        *,
        buffer: int = 2000,
        max_batch_ex: int | None = None,
        quadratic: float | None = None,
        too_long: TooLong = "error",
        seed: int = 0,
        epoch: int = 0,
        done: Sequence[tuple[int, int]] = (),
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if not 0 < max_batch_length < math.inf:
            raise InputError(f"max_batch_length is {max_batch_length}; it must be above 0.")
        if buffer < 1:
            raise InputError(f"buffer is {buffer}; it must be 1 or more.")
        check_options(max_batch_ex, quadratic, rank, world_size)
        self.examples = examples
        self.length = length
        self.collate = collate
        self.max_batch_length = max_batch_length
        self.buffer = buffer
        self.max_batch_ex = max_batch_ex
        self.quadratic = quadratic
        self.too_long = too_long
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self._epoch = torch.tensor(epoch).share_memory_()  # persistent workers see it change
        self._read_by_workers = torch.tensor(False).share_memory_()
        self._resumed = epoch, list(done)

    @property
    def epoch(self) -> int:
        """The present epoch."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch, of which the next iteration gives the batches."""
        self._epoch.fill_(epoch)

    def state_dict(self, steps: int) -> dict[str, Any]:
        """The position as plain values, the same on all ranks.

        A loader with workers reads the stream ahead of what is trained on, so only the loop knows how far it is.

        Args:
            steps: batches of the present epoch that the loop has done since the epoch's start, or in the epoch that it
                was resumed in since :meth:`load_state_dict`.

        Raises:
            InputError: ``steps`` is below 0.
        """
        if steps < 0:
            raise InputError(f"{steps} steps are said to be done; count the batches of the present epoch from 0.")
        return position_state(self.epoch, self._done(self.epoch), steps, self.world_size, self._settings())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to the position of a state, also with another number of ranks. Loop from ``epoch`` on.

        The stream has to give the same examples in the same order as before; that cannot be checked.

        Args:
            state: what :meth:`state_dict` returned.

        Raises:
            InputError: it is of other settings, so that the batches would be other ones, or workers of a loader have
                the position already.
        """
        if self._read_by_workers:
            raise InputError(
                "load_state_dict comes too late: workers of a loader have begun to read this stream, each with a copy "
                "of the position. Make a new stream and a new loader, and load the state before the first epoch."
            )
        epoch, done = read_position(state, self._settings())
        self._resumed = epoch, done
        self.set_epoch(epoch)

    def _settings(self) -> dict[str, Any]:
        """What the batches depend on, besides the examples, the epoch and the number of ranks."""
        names = ("max_batch_length", "buffer", "max_batch_ex", "quadratic", "too_long", "seed")
        return {name: getattr(self, name) for name in names}

    def _done(self, epoch: int) -> list[tuple[int, int]]:
        """The steps of an epoch that were done before a restart."""
        resumed, done = self._resumed
        return done if epoch == resumed else []

    @override
    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        first, every = (worker.id, worker.num_workers) if worker else (0, 1)
        if worker:
            self._read_by_workers.fill_(True)
        for step in itertools.islice(self._remaining(self.epoch), first, None, every):
            yield self.collate(step[self.rank])

    def _remaining(self, epoch: int) -> Iterator[list[list[Example]]]:
        """The steps of an epoch that are to be done."""
        done = self._done(epoch)
        world_size = done[0][1] if done else self.world_size
        steps = self._steps(self._batches(epoch), world_size)
        for count, ranks in [*done, (0, self.world_size)]:
            if ranks != world_size:
                steps = self._steps(itertools.chain.from_iterable(steps), ranks)
                world_size = ranks
            steps = itertools.islice(steps, count, None)
        return steps

    def _steps(self, batches: Iterable[list[Example]], world_size: int) -> Iterator[list[list[Example]]]:
        """Take a batch for each rank at a time; the last ones are divided where there are too few."""
        batches = iter(batches)
        held: list[list[list[Example]]] = []  # the last steps whose batches can be divided often enough
        while len(step := list(itertools.islice(batches, world_size))) == world_size:
            if not _divisions([step]):
                yield step
                continue
            held.append(step)
            while held and _divisions(held[1:]) >= world_size - 1:
                yield held.pop(0)
        if step:
            steps = 1
            while held and sum(map(len, step)) < steps * world_size:
                step = held.pop() + step
                steps += 1
            yield from held
            divided = _divide(step, steps * world_size)
            yield from (divided[i : i + world_size] for i in range(0, len(divided), world_size))
        else:
            yield from held

    def _batches(self, epoch: int) -> Iterator[list[Example]]:
        """The batches of an epoch, whatever the number of ranks."""
        generator = np.random.default_rng([self.seed, epoch, 4])  # 1 to 3 are the dynamic batch sampler's
        arrivals = enumerate(self._within_budget(epoch))
        waiting: dict[int, tuple[float, Example]] = {}  # costs and examples by arrival, the oldest first
        by_cost: list[tuple[float, int]] = []  # costs and arrivals
        while True:
            for arrival, (cost, example) in itertools.islice(arrivals, self.buffer - len(waiting)):
                waiting[arrival] = cost, example
                bisect.insort(by_cost, (cost, arrival))
            if not waiting:
                return
            oldest = next(iter(waiting))
            window = self._window(by_cost, bisect.bisect_left(by_cost, (waiting[oldest][0], oldest)), generator)
            batch = [waiting.pop(arrival)[1] for _, arrival in by_cost[window]]
            del by_cost[window]
            yield batch

    def _window(self, by_cost: list[tuple[float, int]], oldest: int, generator: np.random.Generator) -> slice:
        """Draw a window of as many neighbors as fit in, with the oldest, which is at a given place, among them."""
        windows = []
        for last in range(oldest, len(by_cost)):
            fitting = max(1, int(self.max_batch_length // by_cost[last][0]))
            first = last + 1 - min(fitting, self.max_batch_ex or fitting)
            if first > oldest:
                break
            windows.append(slice(first, last + 1))
        full = [window for window in windows if window.start >= 0]
        # Where more would fit in than there are, all up to the longest that allows it.
        return full[generator.integers(len(full))] if full else slice(0, windows[-1].stop)

    def _within_budget(self, epoch: int) -> Iterator[tuple[float, Example]]:
        """The examples that batches are made of, each after its cost."""
        budget = budget_text([self.max_batch_length], self.quadratic)
        count = too_long = 0
        named: list[str] = []
        for count, example in enumerate(self.examples(epoch), 1):  # noqa: B007
            length = self.length(example)
            if not 0 < length < math.inf:
                raise InputError(f"{example}: its length is {length:g}; it must be above 0. Leave it out.")
            cost = length if self.quadratic is None else length + length**2 / self.quadratic
            if cost > self.max_batch_length:
                if self.too_long == "error":
                    raise InputError(
                        f"{example}: {length:g} long, longer than the budget of {budget}. Raise max_batch_length, or "
                        "say with too_long what to do: 'drop' leaves it out, 'alone' makes it a batch of its own."
                    )
                too_long += 1
                if too_long <= NAMED:
                    named.append(f"{example} ({length:g})")
                if self.too_long == "drop":
                    continue
            yield cost, example
        if not count:
            raise InputError("There are no examples in the stream.")
        if not too_long or self.too_long == "alone":
            return
        message = too_long_message(named, too_long, count, budget)
        if self.too_long == "drop" and too_long == count:
            raise InputError(f"{message} Nothing is left; raise max_batch_length.")
        worker = get_worker_info()
        if self.rank == 0 and (worker is None or worker.id == 0):
            then = "They are left out." if self.too_long == "drop" else "Each is a batch beyond the budget."
            warnings.warn(f"{message} {then}", stacklevel=2)


def _divisions(steps: list[list[list[Any]]]) -> int:
    """How many more batches the batches of some steps can be divided into."""
    return sum(len(batch) - 1 for step in steps for batch in step)


def _divide(batches: list[list[Example]], count: int) -> list[list[Example]]:
    """Divide the largest batches until there are so many.

    Raises:
        InputError: there are fewer examples.
    """
    examples = list(itertools.chain.from_iterable(batches))
    if len(examples) < count:
        raise InputError(
            f"{len(examples)} examples remain at the end of the stream, too few to make {count} batches of them, as "
            "many as give each process the same number of steps. Use fewer processes, or let more examples into a "
            "batch (max_batch_length, max_batch_ex)."
        )
    sizes = np.array([len(batch) for batch in batches], np.int64)
    starts, sizes = halve_largest(np.cumsum(sizes) - sizes, sizes, count)
    return [examples[start : start + size] for start, size in zip(starts.tolist(), sizes.tolist(), strict=True)]
