"""What dynamic batches of a stream promise, for any lengths and arguments."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from sextant.errors import InputError
from sextant.samplers.stream import DynamicBatchStream

Batch = list[int]
LENGTHS = st.lists(st.floats(0.5, 40), min_size=1, max_size=120)


@dataclass(frozen=True)
class Word:
    """An example of a stream."""

    index: int
    length: float

    def __str__(self) -> str:
        return f"word {self.index}"


def words(lengths: list[float], epoch: int) -> Iterator[Word]:
    """Examples in an order of their own for each epoch."""
    for index in np.random.default_rng(epoch).permutation(len(lengths)).tolist():
        yield Word(index, lengths[index])


def length(word: Word) -> float:
    return word.length


def collate(batch: list[Word]) -> Batch:
    return [word.index for word in batch]


def stream(lengths: list[float], max_batch_length: float, **options: Any) -> DynamicBatchStream[Word]:
    return DynamicBatchStream(partial(words, lengths), length, collate, max_batch_length, **options)


@st.composite
def arguments(draw: st.DrawFn) -> dict[str, Any]:
    """Lengths and arguments that go together."""
    return {
        "lengths": draw(LENGTHS),
        "max_batch_length": draw(st.floats(40, 400)),
        "max_batch_ex": draw(st.none() | st.integers(1, 9)),
        "buffer": draw(st.integers(1, 50)),
        "seed": draw(st.integers(0, 5)),
        "epoch": draw(st.integers(0, 5)),
    }


def batches_of_ranks(world_size: int, **chosen: Any) -> list[list[Batch]]:
    """The batches of each rank; the case is passed over where the examples are too few for them."""
    try:
        return [list(stream(**chosen, rank=rank, world_size=world_size)) for rank in range(world_size)]
    except InputError as error:
        assume("too few to make" not in str(error))
        raise


def examples(ranks: list[list[Batch]]) -> list[int]:
    return sorted(index for batches in ranks for batch in batches for index in batch)


def in_steps(ranks: list[list[Batch]]) -> list[Batch]:
    """The batches of all ranks in the order of the steps."""
    return list(itertools.chain.from_iterable(zip(*ranks, strict=True)))


@given(arguments(), st.integers(1, 4))
def test_every_example_comes_exactly_once_an_epoch_in_as_many_steps_on_each_rank(
    chosen: dict[str, Any], world_size: int
) -> None:
    ranks = batches_of_ranks(world_size, **chosen)
    assert examples(ranks) == list(range(len(chosen["lengths"])))
    assert len({len(batches) for batches in ranks}) == 1


@given(arguments(), st.integers(1, 4))
def test_budget_and_number_of_examples_are_never_exceeded(chosen: dict[str, Any], world_size: int) -> None:
    lengths = np.array(chosen["lengths"])
    for batch in in_steps(batches_of_ranks(world_size, **chosen)):
        assert 1 <= len(batch) <= (chosen["max_batch_ex"] or np.inf)
        assert len(batch) * lengths[batch].max() <= chosen["max_batch_length"]


@given(arguments(), st.integers(1, 3))
def test_batches_are_a_function_of_the_stream_the_seed_and_the_epoch(chosen: dict[str, Any], world_size: int) -> None:
    first = batches_of_ranks(world_size, **chosen)
    assert batches_of_ranks(world_size, **chosen) == first
    again = stream(**chosen | {"epoch": 9}, world_size=world_size)
    again.set_epoch(chosen["epoch"])
    assert list(again) == list(again) == first[0]


def test_other_epochs_and_other_seeds_give_other_batches() -> None:
    lengths = np.random.default_rng(0).uniform(1, 20, 600).tolist()
    made = [
        {frozenset(batch) for batch in stream(lengths, 100, buffer=200, seed=seed, epoch=epoch)}
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    ]
    for a, b in itertools.combinations(made, 2):
        assert len(a & b) < 0.2 * len(a)


def test_windows_are_drawn_anew_in_each_epoch_even_of_the_same_stream() -> None:
    lengths = np.random.default_rng(0).uniform(1, 20, 600).tolist()
    made = []
    for epoch in (0, 1):
        same = DynamicBatchStream(lambda _: words(lengths, 0), length, collate, 100, buffer=200, epoch=epoch)
        made.append({frozenset(batch) for batch in same})
    assert len(made[0] & made[1]) < 0.5 * len(made[0])


@given(arguments())
def test_batch_is_a_window_of_the_sorted_buffer_around_its_oldest_example(chosen: dict[str, Any]) -> None:
    """A replay: what is in the buffer before each batch follows from the stream and the batches before."""
    arrivals = list(words(chosen["lengths"], chosen["epoch"]))
    place = {word.index: number for number, word in enumerate(arrivals)}
    buffer: list[Word] = []
    arrived = 0
    for batch in stream(**chosen):
        missing = chosen["buffer"] - len(buffer)
        buffer += arrivals[arrived : arrived + missing]
        arrived += missing
        assert buffer[0].index in batch
        by_length = [word.index for word in sorted(buffer, key=lambda word: (word.length, place[word.index]))]
        first = by_length.index(batch[0])
        assert by_length[first : first + len(batch)] == batch
        buffer = [word for word in buffer if word.index not in batch]
    assert not buffer


def test_window_holds_as_many_as_fit_in() -> None:
    lengths = np.random.default_rng(0).uniform(1, 20, 2000).tolist()
    batches = list(stream(lengths, 100, buffer=500))
    filled = [len(batch) for batch in batches if len(batch) == 100 // max(lengths[i] for i in batch)]
    assert len(filled) > 0.95 * len(batches)


def test_larger_buffers_pad_less() -> None:
    lengths = np.random.default_rng(0).uniform(2, 30, 4000)
    padding = []
    for buffer in (50, 400, 3000):
        batches = list(stream(lengths.tolist(), 600, buffer=buffer))
        cells = sum(len(batch) * lengths[batch].max() for batch in batches)
        padding.append(1 - lengths.sum() / cells)
    assert padding[0] > 2 * padding[1] > 4 * padding[2] > 0


class Counted:
    """A stream's examples, and how many of them were read.

    Args:
        lengths: of the examples.
    """

    def __init__(self, lengths: list[float]) -> None:
        self.lengths = lengths
        self.read = 0

    def __call__(self, epoch: int) -> Iterator[Word]:
        for word in words(self.lengths, epoch):
            self.read += 1
            yield word


@given(arguments(), st.integers(1, 3))
def test_no_more_examples_are_read_ahead_than_the_buffer_and_a_few_steps_hold(
    chosen: dict[str, Any], world_size: int
) -> None:
    steps = list(zip(*batches_of_ranks(world_size, **chosen), strict=True))
    counted = Counted(chosen["lengths"])
    options = {key: value for key, value in chosen.items() if key != "lengths"}
    given_out = 0
    for _, step in zip(
        DynamicBatchStream(counted, length, collate, world_size=world_size, **options), steps, strict=True
    ):
        ahead = counted.read - given_out
        # Those of one process are given out at once. Several wait until the steps after this one can be divided.
        largest = max(len(batch) for batch in itertools.chain(*steps))
        assert ahead <= chosen["buffer"] + (world_size - 1) * (world_size + 1) * largest * world_size
        given_out += sum(map(len, step))


def test_steps_of_single_examples_are_not_held_back() -> None:
    """They cannot be divided at the end, so to hold them would be to gather the whole stream."""
    counted = Counted([1.0] * 1000)
    next(iter(DynamicBatchStream(counted, length, collate, 9, buffer=5, max_batch_ex=1, world_size=2)))
    assert counted.read < 10


@given(arguments(), st.integers(2, 4))
def test_only_the_last_batches_are_divided_for_several_ranks(chosen: dict[str, Any], world_size: int) -> None:
    undivided = [frozenset(batch) for batch in batches_of_ranks(1, **chosen)[0]]
    steps = list(zip(*batches_of_ranks(world_size, **chosen), strict=True))
    missing = -len(undivided) % world_size
    assert len(steps) * world_size == len(undivided) + missing
    divided = [batch for step in steps for batch in step if frozenset(batch) not in undivided]
    assert bool(divided) == bool(missing)
    assert {frozenset(batch) for step in steps for batch in step} - {frozenset(b) for b in divided} <= set(undivided)
    # What was divided comes last, apart from batches of single examples.
    first = next((i for i, step in enumerate(steps) if any(batch in divided for batch in step)), len(steps))
    assert len(steps) - first <= world_size


@pytest.mark.parametrize(
    ("count", "sizes"), [(6, [[3], [3]]), (8, [[3, 1], [3, 1]]), (7, [[2, 1], [3, 1]]), (2, [[1], [1]])]
)
def test_last_step_is_filled_up_from_its_own_batches_or_from_the_step_before(
    count: int, sizes: list[list[int]]
) -> None:
    ranks = batches_of_ranks(2, lengths=[1.0] * count, max_batch_length=3)
    assert [[len(batch) for batch in batches] for batches in ranks] == sizes
    assert examples(ranks) == list(range(count))


@pytest.mark.parametrize(
    ("count", "world_size", "options"),
    [(3, 4, {}), (1, 2, {}), (3, 2, {"max_batch_ex": 1}), (5, 4, {"max_batch_ex": 1})],
)
def test_fewer_examples_than_batches_that_are_needed_are_an_error_on_every_rank(
    count: int, world_size: int, options: dict[str, Any]
) -> None:
    for rank in range(world_size):
        with pytest.raises(InputError, match=rf"{count % world_size} examples remain .* to make {world_size} batches"):
            list(stream([1.0] * count, 9, rank=rank, world_size=world_size, **options))


def test_batches_of_a_step_cost_nearly_the_same_on_all_ranks() -> None:
    lengths = np.random.default_rng(0).lognormal(2, 0.6, 8000).clip(1, 40)
    batches = in_steps(batches_of_ranks(8, lengths=lengths.tolist(), max_batch_length=400))
    costs = np.array([len(batch) * lengths[batch].max() for batch in batches]).reshape(-1, 8)
    assert costs.max(1).sum() / costs.mean(1).sum() < 1.03


@given(arguments(), st.integers(1, 3), st.data())
def test_resumed_epoch_goes_on_with_the_batches_that_remain(
    chosen: dict[str, Any], world_size: int, data: st.DataObject
) -> None:
    for rank, whole in enumerate(batches_of_ranks(world_size, **chosen)):
        first = data.draw(st.integers(0, len(whole)))
        second = data.draw(st.integers(0, len(whole) - first))
        done = [(first, world_size), (second, world_size)]
        resumed = stream(**chosen, done=done, rank=rank, world_size=world_size)
        assert list(resumed) == list(resumed) == whole[first + second :]
        resumed.set_epoch(chosen["epoch"])
        assert list(resumed) == whole[first + second :]
        other = chosen["epoch"] + 1
        resumed.set_epoch(other)
        assert list(resumed) == list(stream(**chosen | {"epoch": other}, rank=rank, world_size=world_size))


@given(arguments(), st.lists(st.integers(1, 4), min_size=2, max_size=4), st.data())
def test_another_number_of_ranks_gets_the_examples_that_remain(
    chosen: dict[str, Any], world_sizes: list[int], data: st.DataObject
) -> None:
    seen: list[int] = []
    done: list[tuple[int, int]] = []
    for world_size in world_sizes:
        ranks = batches_of_ranks(world_size, **chosen, done=done)
        assert len({len(batches) for batches in ranks}) == 1
        assert sorted(seen + examples(ranks)) == list(range(len(chosen["lengths"])))
        steps = data.draw(st.integers(0, len(ranks[0])))
        seen += examples([batches[:steps] for batches in ranks])
        if steps:
            done = [*done, (steps, world_size)]


@given(st.integers(1, 3), st.integers(1, 3))
def test_every_position_can_be_resumed_at_with_any_number_of_ranks(before: int, after: int) -> None:
    chosen: dict[str, Any] = {"lengths": [1.0 + i % 7 for i in range(60)], "max_batch_length": 20, "buffer": 20}
    whole = batches_of_ranks(before, **chosen)
    for steps in range(len(whole[0]) + 1):
        kept = examples([batches[:steps] for batches in whole])
        rest = batches_of_ranks(after, **chosen, done=[(steps, before)])
        assert sorted(kept + examples(rest)) == list(range(60))
        if before == after:
            assert rest == [batches[steps:] for batches in whole]


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_loader_gives_the_same_batches_with_any_number_of_workers(num_workers: int) -> None:
    lengths = np.random.default_rng(0).uniform(1, 9, 100).tolist()
    options: dict[str, Any] = {"buffer": 30, "rank": 1, "world_size": 2}
    loaded = stream(lengths, 40, done=[(2, 2)], **options)
    loader = DataLoader(
        loaded, batch_size=None, collate_fn=list, num_workers=num_workers, persistent_workers=num_workers > 0
    )
    assert list(loader) == list(stream(lengths, 40, **options))[2:]
    for epoch in (1, 2):  # in the same worker processes
        loaded.set_epoch(epoch)
        assert list(loader) == list(stream(lengths, 40, epoch=epoch, **options))


class Collated:
    """Collates by counting: how many batches this process has collated, and the examples of this one."""

    count = 0

    def __call__(self, batch: list[Word]) -> tuple[int, Batch]:
        self.count += 1
        return self.count, collate(batch)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_only_the_batches_that_are_given_are_collated(num_workers: int) -> None:
    lengths = np.random.default_rng(0).uniform(1, 9, 100).tolist()
    counting = DynamicBatchStream(
        partial(words, lengths), length, Collated(), 40, buffer=30, rank=1, world_size=2, done=[(3, 2)]
    )
    counts = [count for count, _ in DataLoader(counting, batch_size=None, collate_fn=list, num_workers=num_workers)]
    workers = max(1, num_workers)
    assert counts == [1 + i // workers for i in range(len(counts))]


def test_too_long_example_is_an_error_that_names_it() -> None:
    with pytest.raises(InputError, match=r"^word 1: 11 long, longer than the budget of 10\. Raise max_batch_length"):
        list(stream([1, 11, 2], 10))


@pytest.mark.parametrize(("choice", "seen"), [("warn", [0, 1, 2, 3]), ("drop", [0, 2])])
def test_too_long_examples_are_kept_alone_or_left_out_with_a_warning(choice: Any, seen: list[int]) -> None:
    made = stream([1, 11, 2, 12], 10, too_long=choice)
    with pytest.warns(
        UserWarning, match=r"2 of 4 examples are longer than the budget of 10: word [13] \(1[12]\), word"
    ):
        batches = list(made)
    assert examples([batches]) == seen
    assert all(len(batch) == 1 for batch in batches if {1, 3} & set(batch))


def test_warning_names_a_few_and_counts_the_others() -> None:
    with pytest.warns(
        UserWarning, match=r"8 of 9 examples are longer .*: (word \d \(11\), ){4}word \d \(11\) and 3 more\."
    ):
        list(stream([11.0] * 8 + [1.0], 10, too_long="drop"))


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_one_of_the_workers_warns(num_workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(message: str, **_: Any) -> None:
        with (tmp_path / "warnings").open("a") as file:
            file.write(f"{message}\n")

    monkeypatch.setattr("warnings.warn", write)  # in the workers too, which are forks
    dropping = stream([1, 2, 11, 3], 10, too_long="drop")
    assert len(list(DataLoader(dropping, batch_size=None, collate_fn=list, num_workers=num_workers))) == 1
    assert (tmp_path / "warnings").read_text().count("1 of 4 examples are longer") == 1


def test_too_long_examples_can_be_kept_alone_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    batches = list(stream([1, 11, 2], 10, too_long="alone"))
    assert sorted(map(sorted, batches)) == [[0, 2], [1]]
    assert not recwarn.list


def test_leaving_out_everything_is_an_error() -> None:
    with pytest.raises(InputError, match=r"2 of 2 examples are longer .* Nothing is left; raise max_batch_length"):
        list(stream([11, 12], 10, too_long="drop"))


def test_quadratic_cost_makes_batches_of_long_examples_smaller() -> None:
    lengths = [5.0, 20.0] * 400
    sizes = {}
    for quadratic in (None, 10.0):
        batches = list(stream(lengths, 400, quadratic=quadratic))
        sizes[quadratic] = [max(len(b) for b in batches if max(lengths[i] for i in b) == size) for size in (5, 20)]
    assert sizes == {None: [80, 20], 10.0: [53, 6]}  # 400 / (5 + 2.5), 400 / (20 + 40)


@pytest.mark.parametrize("wrong", [0.0, -2.0, float("nan"), float("inf")])
def test_length_that_is_none_is_an_error_that_names_the_example(wrong: float) -> None:
    with pytest.raises(InputError, match=r"^word 1: its length is"):
        list(stream([1, wrong, 2], 10))


def test_empty_stream_is_an_error() -> None:
    with pytest.raises(InputError, match="no examples"):
        list(stream([], 10))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_batch_length": 0}, "max_batch_length is 0; it must be above 0"),
        ({"max_batch_length": float("nan")}, "max_batch_length is nan"),
        ({"buffer": 0}, "buffer is 0"),
        ({"max_batch_ex": 0}, "max_batch_ex is 0"),
        ({"quadratic": 0.0}, r"quadratic is 0\.0"),
        ({"rank": 2, "world_size": 2}, "rank is 2"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_with_the_reason(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        stream(**dict[str, Any](lengths=[1, 2, 3], max_batch_length=10) | wrong)
