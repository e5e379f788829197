"""The call with SpeechBrain's arguments means what it means there, without its faults."""

import inspect
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sextant.errors import InputError
from sextant.samplers.speechbrain import SpeechBrainBatchSampler, log_normal_boundaries

BUDGET = 544.0


def durations(count: int = 1519) -> NDArray[np.float64]:
    """Seconds as those of LibriSpeech's utterances: most near 14, few short ones, none above 17.3."""
    draw = np.random.default_rng(0)
    return np.where(draw.random(count) < 0.7, draw.normal(14.5, 1.2, count), draw.uniform(2, 14, count)).clip(2, 17.3)


def batches_by_the_rule(lengths: NDArray[np.float64], budget: float, boundaries: list[float]) -> int:
    """How many batches buckets take where each batch has as many examples as fit at the bucket's upper edge."""
    counts = np.bincount(np.searchsorted(boundaries, lengths), minlength=len(boundaries) + 1)
    sizes = [max(1, int(budget / edge)) for edge in boundaries] + [1]
    return sum(-(-int(count) // size) for count, size in zip(counts, sizes, strict=True))


def test_arguments_have_the_names_the_order_and_the_defaults_of_speechbrain() -> None:
    positional = {
        name: parameter.default
        for name, parameter in inspect.signature(SpeechBrainBatchSampler).parameters.items()
        if parameter.kind is not parameter.KEYWORD_ONLY
    }
    assert positional.pop("length_func")({"duration": 3.5}) == 3.5
    assert list(positional.pop("bucket_boundaries")) == []
    assert list(positional.items()) == [
        ("dataset", inspect.Parameter.empty),
        ("max_batch_length", inspect.Parameter.empty),
        ("num_buckets", None),
        ("shuffle", True),
        ("batch_ordering", "random"),
        ("max_batch_ex", None),
        ("lengths_list", None),
        ("seed", 42),
        ("epoch", 0),
        ("drop_last", False),
        ("verbose", False),
    ]


def test_boundaries_are_the_quantiles_of_speechbrain() -> None:
    """The figures are SpeechBrain 1.1's own, from scipy's ``lognorm.ppf``, for a budget of 100 and 4 buckets."""
    assert log_normal_boundaries(4, 100.0) == pytest.approx([18.577, 33.455, 55.528, 100.0], abs=0.001)


@pytest.mark.parametrize("num_buckets", [20, 60, 200])
def test_as_many_buckets_make_as_many_batches_as_by_the_rule_of_speechbrain(num_buckets: int) -> None:
    lengths = durations()
    sampler = SpeechBrainBatchSampler(range(len(lengths)), BUDGET, num_buckets, lengths_list=lengths)
    by_the_rule = batches_by_the_rule(lengths, BUDGET, log_normal_boundaries(num_buckets, BUDGET))
    assert len(sampler) <= by_the_rule
    assert num_buckets == 20 or len(sampler) > 0.9 * by_the_rule


def test_one_bucket_is_fully_random_and_fills_the_budget() -> None:
    lengths = durations()
    batches = list(SpeechBrainBatchSampler(range(len(lengths)), BUDGET, 1, lengths_list=lengths))
    assert np.mean([len(batch) for batch in batches]) > 0.9 * BUDGET / lengths.max()
    within = np.mean([lengths[batch].std() for batch in batches if len(batch) > 10])
    assert within == pytest.approx(lengths.std(), rel=0.05)


@given(
    st.lists(st.floats(0.5, 40), min_size=4, max_size=80),
    st.integers(1, 40),
    st.integers(1, 4),
    st.booleans(),
    st.none() | st.integers(1, 9),
)
def test_every_example_comes_once_within_budget_and_bucket_on_any_number_of_ranks(
    lengths: list[float], num_buckets: int, world_size: int, shuffle: bool, max_batch_ex: int | None
) -> None:
    assume(len(lengths) % world_size == 0)  # or a batch for each rank may be too many
    array, boundaries = np.array(lengths), log_normal_boundaries(num_buckets, 160.0)
    seen: list[int] = []
    for rank in range(world_size):
        sampler = SpeechBrainBatchSampler(
            range(len(lengths)), 160.0, num_buckets, shuffle=shuffle, max_batch_ex=max_batch_ex,
            lengths_list=lengths, rank=rank, world_size=world_size,
        )  # fmt: skip
        for batch in sampler:
            assert len(batch) * array[batch].max() <= 160
            assert len(batch) <= (max_batch_ex or np.inf)
            assert len({int(np.searchsorted(boundaries, length)) for length in array[batch]}) == 1
            seen += batch
    assert sorted(seen) == list(range(len(lengths)))


def test_drop_last_leaves_out_less_than_a_step_and_not_the_end_of_each_bucket() -> None:
    lengths = durations()
    seen = [
        index
        for rank in range(4)
        for batch in SpeechBrainBatchSampler(
            range(len(lengths)), BUDGET, 60, drop_last=True, lengths_list=lengths, rank=rank, world_size=4
        )
        for index in batch
    ]
    assert len(set(seen)) == len(seen)
    assert len(seen) > 0.97 * len(lengths)


@pytest.mark.parametrize(("drop_last", "given"), [(True, 4), (False, 6)])
def test_batches_that_do_not_divide_by_the_ranks_are_dropped_only_where_that_is_asked_for(
    drop_last: bool, given: int
) -> None:
    """Three batches of two examples are too many for two ranks by one."""
    seen = [
        index
        for rank in range(2)
        for batch in SpeechBrainBatchSampler(
            range(6), 2, 1, drop_last=drop_last, lengths_list=[1.0] * 6, rank=rank, world_size=2
        )
        for index in batch
    ]
    assert len(set(seen)) == len(seen) == given


def test_boundaries_of_ones_own_take_the_place_of_a_number() -> None:
    lengths = [1.0, 2.0, 3.0, 4.0, 9.0]
    sampler = SpeechBrainBatchSampler(range(5), 20, 60, bucket_boundaries=[2.5, 5], lengths_list=lengths)
    assert sorted(sorted(batch) for batch in sampler) == [[0, 1], [2, 3], [4]]


def test_example_beyond_the_budget_is_a_batch_of_its_own_with_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"1 of 3 examples are longer than the budget of 10: example 1 \(11\)"):
        sampler = SpeechBrainBatchSampler(range(3), 10, 3, lengths_list=[1, 11, 2])
    assert [1] in list(sampler)


def test_lengths_come_from_annotations_without_reading_examples() -> None:
    class Items:
        """Laid out as SpeechBrain's ``DynamicItemDataset``."""

        def __init__(self) -> None:
            self.data = {"b": {"duration": 4.0}, "a": {"duration": 2.0}}
            self.data_ids = ["a", "b"]

        def __len__(self) -> int:
            return len(self.data_ids)

        def __getitem__(self, index: int) -> Any:
            raise AssertionError("an example was read")

    items: Any = Items()
    assert SpeechBrainBatchSampler(items, 10, 2).lengths.tolist() == [2, 4]
    assert SpeechBrainBatchSampler(items, 100, 2, lambda x: 10 * x["duration"]).lengths.tolist() == [20, 40]


def test_lengths_come_from_the_examples_of_any_other_dataset() -> None:
    assert SpeechBrainBatchSampler([{"duration": 3}, {"duration": 5}], 10, 2).lengths.tolist() == [3, 5]
    assert SpeechBrainBatchSampler(["aa", "b"], 10, 2, len).lengths.tolist() == [2, 1]


def test_verbose_prints_the_figures_of_an_epoch_once(capsys: pytest.CaptureFixture[str]) -> None:
    for rank in range(2):
        SpeechBrainBatchSampler(range(4), 4, 2, lengths_list=[1, 2, 1, 2], verbose=True, rank=rank, world_size=2)
    printed = capsys.readouterr().out
    assert printed.count("An epoch has") == 1
    assert "4 in all, 1 to 2 long" in printed


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_buckets": None}, "Give num_buckets or bucket_boundaries"),
        ({"num_buckets": 0}, "num_buckets is 0; it must be 1 or more"),
        ({"num_buckets": -3}, "num_buckets is -3"),
        ({"bucket_boundaries": [3, 2]}, "ascending order"),
        ({"bucket_boundaries": [2, 2]}, "ascending order"),
        ({"lengths_list": [1, 2]}, "lengths_list has 2 lengths for 3 examples"),
        ({"lengths_list": [1, 0, 2]}, "above 0, but example 1: 0"),
        ({"lengths_list": None}, "no 'duration': 0. Give length_func"),
        ({"lengths_list": None, "dataset": [{"text": "a"}] * 3}, "no 'duration': {'text': 'a'}"),
        ({"batch_ordering": "sorted"}, "batch_ordering is 'sorted'"),
        ({"max_batch_ex": 0}, "max_batch_ex is 0"),
        ({"max_batch_length": 0}, "max_batch_length is 0"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_with_the_reason(wrong: dict[str, Any], message: str) -> None:
    right = {"dataset": range(3), "max_batch_length": 10, "num_buckets": 3, "lengths_list": [1, 2, 3]}
    with pytest.raises(InputError, match=message):
        SpeechBrainBatchSampler(**dict[str, Any](**right) | wrong)
