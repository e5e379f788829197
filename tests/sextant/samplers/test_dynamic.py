"""What dynamic batches promise, for any lengths and arguments."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset
from typing_extensions import override

from sextant.errors import InputError
from sextant.samplers.dynamic import DynamicBatchSampler

LENGTHS = st.lists(st.floats(0.5, 40), min_size=1, max_size=120)


@st.composite
def arguments(draw: st.DrawFn) -> dict[str, Any]:
    """Lengths and arguments that go together."""
    chosen: dict[str, Any] = {
        "lengths": draw(LENGTHS),
        "max_batch_length": draw(st.floats(40, 400)),
        "max_batch_ex": draw(st.none() | st.integers(1, 9)),
        "shuffle": draw(st.booleans()),
        "batch_ordering": draw(st.sampled_from(["random", "ascending", "descending"])),
        "seed": draw(st.integers(0, 5)),
    }
    how = draw(st.sampled_from(["default", "padding", "number of buckets", "edges of buckets"]))
    if how == "padding":
        chosen["padding"] = draw(st.floats(0, 0.9))
    elif how == "number of buckets":
        chosen["buckets"] = draw(st.integers(1, 9))
    elif how == "edges of buckets":
        chosen["buckets"] = sorted(draw(st.sets(st.floats(1, 60), min_size=1, max_size=5)))
    return chosen


def on_ranks(world_size: int, chosen: dict[str, Any]) -> list[DynamicBatchSampler]:
    """The samplers of all ranks; the case is passed over where the examples are too few for them."""
    try:
        return [DynamicBatchSampler(**chosen, rank=rank, world_size=world_size) for rank in range(world_size)]
    except InputError as error:
        assume("too few" not in str(error))
        raise


def examples(samplers: list[DynamicBatchSampler]) -> list[int]:
    return sorted(index for sampler in samplers for batch in sampler for index in batch)


@given(arguments(), st.integers(1, 4), st.integers(0, 5))
def test_every_example_comes_exactly_once_an_epoch(chosen: dict[str, Any], world_size: int, epoch: int) -> None:
    samplers = on_ranks(world_size, chosen)
    for sampler in samplers:
        sampler.set_epoch(epoch)
    assert examples(samplers) == list(range(len(chosen["lengths"])))


@given(arguments(), st.integers(1, 4), st.integers(0, 5))
def test_budget_and_number_of_examples_are_never_exceeded(chosen: dict[str, Any], world_size: int, epoch: int) -> None:
    lengths = np.array(chosen["lengths"])
    for sampler in on_ranks(world_size, chosen):
        sampler.set_epoch(epoch)
        for batch in sampler:
            assert 1 <= len(batch) <= (chosen["max_batch_ex"] or np.inf)
            assert len(batch) * lengths[batch].max() <= chosen["max_batch_length"]


@given(arguments(), st.integers(1, 4))
def test_all_ranks_have_the_same_number_of_batches_in_every_epoch(chosen: dict[str, Any], world_size: int) -> None:
    counts = set()
    for sampler in on_ranks(world_size, chosen):
        for epoch in range(6):
            sampler.set_epoch(epoch)
            counts |= {len(sampler), len(list(sampler))}
    assert len(counts) == 1


def test_number_of_batches_is_the_same_in_fifty_epochs() -> None:
    lengths = np.random.default_rng(0).lognormal(2, 0.6, 1500).clip(1, 40)
    ways: list[dict[str, Any]] = [{"padding": 0.05}, {"buckets": 1}, {"buckets": 8}]
    for options in ways:
        sampler = DynamicBatchSampler(lengths, 300, world_size=3, **options)
        assert {len(sampler.plan(epoch).starts) for epoch in range(50)} == {3 * len(sampler)}


@given(arguments(), st.integers(0, 5))
def test_batches_are_a_function_of_the_seed_and_the_epoch(chosen: dict[str, Any], epoch: int) -> None:
    first, second = DynamicBatchSampler(**chosen), DynamicBatchSampler(**chosen, epoch=epoch)
    list(first)
    first.set_epoch(epoch)
    assert list(first) == list(second) == list(second)


def test_other_epochs_and_other_seeds_give_other_batches() -> None:
    lengths = np.random.default_rng(0).uniform(1, 20, 300)
    made = [
        [sorted(b) for b in DynamicBatchSampler(lengths, 100, seed=s, epoch=e)] for s, e in ((0, 0), (0, 1), (1, 0))
    ]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert sum(batch in made[b] for batch in made[a]) < 0.1 * len(made[a])


def test_without_shuffling_every_epoch_is_the_same_and_sorted() -> None:
    lengths = np.random.default_rng(0).uniform(1, 20, 300)
    sampler = DynamicBatchSampler(lengths, 100, shuffle=False, batch_ordering="ascending")
    batches = list(sampler)
    sampler.set_epoch(7)
    assert list(sampler) == batches
    assert [index for batch in batches for index in batch] == np.argsort(lengths, kind="stable").tolist()


@given(arguments(), st.sampled_from(["ascending", "descending"]))
def test_batches_can_be_ordered_by_their_longest_example(chosen: dict[str, Any], ordering: str) -> None:
    lengths = np.array(chosen["lengths"])
    longest = [lengths[batch].max() for batch in DynamicBatchSampler(**chosen | {"batch_ordering": ordering})]
    assert longest == sorted(longest, reverse=ordering == "descending")


@given(arguments(), st.integers(1, 3), st.data())
def test_resumed_epoch_goes_on_with_the_batches_that_remain(
    chosen: dict[str, Any], world_size: int, data: st.DataObject
) -> None:
    for sampler in on_ranks(world_size, chosen):
        whole = list(sampler)
        done = data.draw(st.integers(0, len(whole)))
        resumed = DynamicBatchSampler(**chosen, done=[(done, world_size)], rank=sampler.rank, world_size=world_size)
        assert list(resumed) == whole[done:]
        assert resumed.remaining == len(whole) - done
        assert len(resumed) == len(whole)
        resumed.set_epoch(0)
        assert list(resumed) == whole[done:]
        resumed.set_epoch(1)
        assert len(list(resumed)) == len(whole)


@given(arguments(), st.lists(st.integers(1, 4), min_size=2, max_size=4), st.data())
def test_another_number_of_ranks_gets_the_examples_that_remain(
    chosen: dict[str, Any], world_sizes: list[int], data: st.DataObject
) -> None:
    seen: list[int] = []
    batches_left = 0
    done: list[tuple[int, int]] = []
    everything = list(range(len(chosen["lengths"])))
    for world_size in world_sizes:
        ranks = on_ranks(world_size, chosen | {"done": done})
        needed = -(-batches_left // world_size) * world_size
        if done and world_size != done[-1][1] and needed > len(everything) - len(seen):
            with pytest.raises(InputError, match="remain, too few for"):
                list(ranks[0])
            return
        parts = [list(sampler) for sampler in ranks]
        assert len({len(part) for part in parts}) == 1
        assert {sampler.remaining for sampler in ranks} == {len(parts[0])}
        assert len(parts[0]) <= len(ranks[0])
        rest = [index for part in parts for batch in part for index in batch]
        assert sorted(seen + rest) == everything
        steps = data.draw(st.integers(0, len(parts[0])))
        seen += [index for part in parts for batch in part[:steps] for index in batch]
        if steps:
            done = [*done, (steps, world_size)]
            batches_left = world_size * (len(parts[0]) - steps)


@pytest.mark.parametrize("padding", [0.01, 0.03, 0.1])
@pytest.mark.parametrize("shape", ["uniform", "lognormal", "two peaks"])
def test_padding_is_what_was_asked_for(padding: float, shape: str) -> None:
    draw = np.random.default_rng(0)
    lengths = {
        "uniform": draw.uniform(2, 30, 20_000),
        "lognormal": draw.lognormal(2, 0.6, 20_000).clip(1, 60),
        "two peaks": np.concatenate([draw.normal(5, 0.5, 10_000), draw.normal(15, 2, 10_000)]).clip(1),
    }[shape]
    assert DynamicBatchSampler(lengths, 600, padding=padding).describe().padding == pytest.approx(padding, rel=0.25)


@pytest.mark.parametrize("padding", [0.01, 0.05, 0.15])
def test_padding_is_what_was_asked_for_where_only_some_lengths_occur(padding: float) -> None:
    """As of short questions, in tokens: little noise puts lengths into one batch that are far apart."""
    lengths = np.random.default_rng(0).choice([7, 8, 9, 10, 11, 13], 20_000)
    sampler = DynamicBatchSampler(lengths, 64 * 13, max_batch_ex=64, padding=padding)
    assert sampler.describe().padding == pytest.approx(padding, rel=0.25)


def test_one_bucket_is_fully_random() -> None:
    """Batch-mates are as unlike as any two examples are."""
    lengths = np.random.default_rng(0).uniform(5, 10, 4000)
    batches = list(DynamicBatchSampler(lengths, 200, buckets=1))
    within = np.mean([lengths[batch].std() for batch in batches if len(batch) > 10])
    assert within == pytest.approx(lengths.std(), rel=0.05)


@given(LENGTHS, st.sets(st.floats(1, 60), min_size=1, max_size=5))
def test_no_batch_goes_across_buckets(lengths: list[float], edges: set[float]) -> None:
    boundaries = sorted(edges)
    for batch in DynamicBatchSampler(lengths, 200, buckets=boundaries):
        assert len({int(np.searchsorted(boundaries, lengths[i], side="left")) for i in batch}) == 1


@given(
    st.lists(st.tuples(st.floats(0.5, 40), st.floats(1, 30)), min_size=1, max_size=80),
    st.floats(40, 300),
    st.floats(30, 200),
)
def test_two_kinds_of_length_both_keep_to_their_budgets(
    lengths: list[tuple[float, float]], first: float, second: float
) -> None:
    array, seen = np.array(lengths), []
    for batch in DynamicBatchSampler(array, (first, second)):
        assert (len(batch) * array[batch].max(0) <= [first, second]).all()
        seen += batch
    assert sorted(seen) == list(range(len(array)))


def test_quadratic_cost_makes_batches_of_long_examples_smaller() -> None:
    lengths = np.repeat([5.0, 20.0], 400)
    sizes = {}
    for quadratic in (None, 10.0):
        batches = list(DynamicBatchSampler(lengths, 400, quadratic=quadratic))
        sizes[quadratic] = [max(len(b) for b in batches if lengths[b].max() == length) for length in (5, 20)]
    assert sizes == {None: [80, 20], 10.0: [53, 6]}  # 400 / (5 + 2.5), 400 / (20 + 40)


@pytest.mark.parametrize("quadratic", [None, 15.0])
def test_batches_of_a_step_cost_nearly_the_same_on_all_ranks(quadratic: float | None) -> None:
    lengths = np.random.default_rng(0).lognormal(2, 0.6, 20_000).clip(1, 40)
    sampler = DynamicBatchSampler(lengths, 400, world_size=8, quadratic=quadratic)
    plan = sampler.plan(0)
    costs = lengths if quadratic is None else lengths + lengths**2 / quadratic
    by_batch = np.array([len(plan[i]) * costs[plan[i]].max() for i in range(len(plan.starts))]).reshape(-1, 8)
    assert by_batch.max(1).sum() / by_batch.mean(1).sum() < 1.01


def test_each_rank_gets_batches_of_every_place_by_cost_in_a_step() -> None:
    """Otherwise the others would wait for the same one in every step."""
    lengths = np.random.default_rng(0).lognormal(2, 0.6, 10_000).clip(1, 40)
    samplers = on_ranks(4, {"lengths": lengths, "max_batch_length": 200})
    costs = np.array([[len(batch) * lengths[batch].max() for batch in sampler] for sampler in samplers])  # rank, step
    places = costs.argsort(0).argsort(0)
    assert places.shape[1] > 100
    for of_rank in places:
        assert np.bincount(of_rank, minlength=4).min() > 0.1 * len(of_rank)


def test_too_long_examples_are_an_error_that_names_them() -> None:
    with pytest.raises(InputError, match=r"2 of 4 examples are longer than the budget of 10: example 1 \(11\), ex"):
        DynamicBatchSampler([1, 11, 2, 12], 10)


@pytest.mark.parametrize(("choice", "seen"), [("warn", [0, 1, 2, 3]), ("drop", [0, 2])])
def test_too_long_examples_are_kept_alone_or_left_out_with_a_warning(choice: Any, seen: list[int]) -> None:
    with pytest.warns(UserWarning, match="2 of 4 examples are longer"):
        sampler = DynamicBatchSampler([1, 11, 2, 12], 10, too_long=choice)
    assert examples([sampler]) == seen
    assert sampler.describe().too_long == 2
    assert sampler.describe().left_out == 4 - len(seen)
    assert all(len(batch) == 1 for batch in sampler if {1, 3} & set(batch))


def test_example_is_too_long_by_its_quadratic_cost() -> None:
    lengths = [1, 5, 6, 2]  # costs of 1.2, 10, 13.2 and 2.8
    message = r"1 of 4 examples are longer than the budget of 10 \(as L \+ L\^2 / 5\): example 2 \(6\)\."
    with pytest.raises(InputError, match=message):
        DynamicBatchSampler(lengths, 10, quadratic=5)
    with pytest.warns(UserWarning, match=message):
        assert examples([DynamicBatchSampler(lengths, 10, quadratic=5, too_long="drop")]) == [0, 1, 3]


def test_too_long_examples_can_be_kept_alone_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    assert examples([DynamicBatchSampler([1, 11, 2], 10, too_long="alone")]) == [0, 1, 2]
    assert not recwarn.list


@given(arguments(), st.integers(1, 4))
def test_drop_last_leaves_out_less_than_a_step(chosen: dict[str, Any], world_size: int) -> None:
    samplers = on_ranks(world_size, chosen | {"drop_last": True})
    seen = examples(samplers)
    assert len(seen) == len(set(seen))
    summary = samplers[0].describe()
    assert summary.left_out == len(chosen["lengths"]) - len(seen)
    assert len({len(list(sampler)) for sampler in samplers}) == 1


def test_summary_says_what_the_batches_are_like() -> None:
    summary = DynamicBatchSampler([1, 2, 4, 4], 8, padding=0, max_batch_ex=2, shuffle=False).describe()
    assert summary.batches == 2
    assert summary.examples == 4
    assert summary.padding == pytest.approx(1 / 12)  # 1 is padded to 2
    assert summary.fill == pytest.approx((4 / 8 + 8 / 8) / 2)
    assert (summary.smallest, summary.largest) == (2, 2)
    assert (summary.shortest, summary.longest) == (1, 4)
    assert "2 batches of 2 to 2 examples, 4 in all, 1 to 4 long; 8.3 % padding" in str(summary)


def test_summary_counts_what_is_left_out_among_the_lengths() -> None:
    with pytest.warns(UserWarning, match="left out"):
        sampler = DynamicBatchSampler([1, 4, 9, 4, 4], 8, padding=0, too_long="drop", drop_last=True, world_size=2)
    summary = sampler.describe()
    assert (summary.batches, summary.examples) == (2, 4)
    assert (summary.shortest, summary.longest) == (1, 9)
    assert (summary.too_long, summary.left_out) == (1, 1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lengths": []}, "of one example or more"),
        ({"lengths": [1, 0, -2, float("nan")]}, "above 0, but example 1: 0, example 2: -2, example 3: nan"),
        ({"lengths": [[[1]]]}, "shape"),
        ({"max_batch_length": 0}, "max_batch_length is 0; it must be above 0"),
        ({"max_batch_length": (5, 5)}, "1 kinds of length"),
        ({"max_batch_ex": 0}, "max_batch_ex is 0"),
        ({"padding": 1.0}, "padding is 1.0"),
        ({"padding": 0.1, "buckets": 3}, "Give one of padding and buckets"),
        ({"buckets": 0}, "buckets is 0"),
        ({"buckets": [3, 2]}, "ascending order"),
        ({"buckets": []}, "ascending order"),
        ({"buckets": 2.5}, "ascending order"),
        ({"quadratic": 0.0}, "quadratic is 0.0"),
        ({"batch_ordering": "sorted"}, "batch_ordering is 'sorted'"),
        ({"rank": 2, "world_size": 2}, "rank is 2"),
        ({"world_size": 9}, "too few for 9 processes"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_with_the_reason(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DynamicBatchSampler(**dict[str, Any](lengths=[1, 2, 3], max_batch_length=10) | wrong)


def test_lengths_can_be_read_from_a_dataset() -> None:
    texts = ["a" * n for n in (3, 1, 2, 5)]
    options: dict[str, Any] = {"max_batch_length": 6, "seed": 3}
    assert list(DynamicBatchSampler.of_dataset(texts, len, **options)) == list(
        DynamicBatchSampler([3, 1, 2, 5], **options)
    )


class Numbers(Dataset):
    @override
    def __getitem__(self, index: int) -> int:
        return index


@pytest.mark.parametrize("num_workers", [0, 2])
def test_it_works_in_a_plain_loader_without_lightning(num_workers: int) -> None:
    sampler = DynamicBatchSampler(np.random.default_rng(0).uniform(1, 9, 50), 40)
    loader = DataLoader(Numbers(), batch_sampler=sampler, num_workers=num_workers, persistent_workers=num_workers > 0)
    for epoch in range(2):
        loader.batch_sampler.sampler.set_epoch(epoch)  # type: ignore[union-attr]  # as Lightning does
        assert [batch.tolist() for batch in loader] == list(sampler)
        assert len(loader) == len(sampler)
