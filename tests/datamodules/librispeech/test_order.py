"""Batches hold every utterance once, on any number of ranks, within the budget."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from datamodules.librispeech import LibriSpeech
from sextant.errors import InputError
from tests.datamodules.speech_data import (
    BUDGET,
    COUNTS,
    PLAIN,
    RATE,
    SLOWEST,
    during,
    epoch_of,
    indices,
    loader_of,
    recordings,
)


@settings(deadline=None, max_examples=60)
@given(
    budget=st.floats(2.6, 40),
    how=st.sampled_from(
        [
            {},
            {"padding": 0.0},
            {"padding": 0.5},
            {"buckets": 1},
            {"buckets": 3},
            {"buckets": [0.8, 1.3]},
        ]
    ),
    most=st.sampled_from([None, 1, 3]),
    ordering=st.sampled_from(["random", "ascending", "descending"]),
    speeds=st.sampled_from([[], [0.9, 1.0, 1.1], [0.95]]),
    ranks=st.integers(1, 4),
    epoch=st.integers(0, 3),
    seed=st.integers(0, 5),
)
def test_every_training_utterance_comes_once_an_epoch_and_the_budget_is_never_exceeded(
    prepared: Callable[..., LibriSpeech],
    librispeech: Path,
    budget: float,
    how: dict[str, Any],
    most: int | None,
    ordering: Any,
    speeds: list[float],
    ranks: int,
    epoch: int,
    seed: int,
) -> None:
    batching = {"max_batch_ex": most, "batch_ordering": ordering, "speeds": speeds, "seed": seed, **how}
    data = prepared("fit", max_batch_length=budget, **batching)
    try:
        parts = [epoch_of(data, epoch, rank, ranks) for rank in range(ranks)]
    except InputError as error:
        assert "too few for" in str(error)  # noqa: PT017
        assume(False)
    assert len({len(part) for part in parts}) == 1, "every rank has as many steps"
    batches = list(itertools.chain(*parts))
    assert sorted(itertools.chain(*batches)) == list(range(COUNTS["train"]))
    seconds = np.array([soundfile.info(file).frames for file in recordings(librispeech, "train")]) / RATE
    for batch in batches:
        assert len(batch) * max(seconds[batch]) / min(speeds, default=1.0) <= budget * (1 + 1e-9)
        assert len(batch) <= (most or COUNTS["train"])


def test_padded_audio_at_the_slowest_speed_is_within_the_budget(prepared: Callable[..., LibriSpeech]) -> None:
    data = prepared("fit", **PLAIN | {"speeds": [SLOWEST]})
    filled = []
    for batch in data.train_dataloader():
        features, frames = data.transform(batch, training=True)["features"]
        assert features.shape[0] * frames.max() * 0.01 <= BUDGET
        # The last window of each utterance begins up to 42 ms before its end.
        filled.append(features.shape[0] * (float(frames.max()) * 0.01 + 0.042))
    assert max(filled) > 0.8 * BUDGET, "the speed is part of what fills the budget"


def test_every_epoch_and_every_seed_has_an_order_of_its_own(prepared: Callable[..., LibriSpeech]) -> None:
    data, same, other = prepared("fit", seed=1), prepared("fit", seed=1), prepared("fit", seed=2)
    epochs = [epoch_of(data, epoch) for epoch in range(4)]
    assert len({str(epoch) for epoch in epochs}) == 4
    assert len({len(epoch) for epoch in epochs}) == 1
    assert [epoch_of(same, epoch) for epoch in range(4)] == epochs
    assert epoch_of(other, 0) != epochs[0]


@pytest.mark.parametrize(("stage", "split"), [("validate", "val"), ("test", "test")])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("budget", [3.0, 6.0, 100.0])
def test_evaluation_covers_a_split_once_with_any_number_of_ranks(
    prepared: Callable[..., LibriSpeech], librispeech: Path, stage: str, split: str, ranks: int, budget: float
) -> None:
    data = prepared(stage, max_batch_length=budget)
    parts = []
    for rank in range(ranks):
        data.trainer = during("validating", rank, ranks)
        parts.append([batch for batch in indices(loader_of(data, split)) if batch])
    assert len({len(part) for part in parts}) == 1
    batches = list(itertools.chain(*parts))
    assert sorted(itertools.chain(*batches)) == list(range(COUNTS[split]))
    seconds = np.array([soundfile.info(file).frames for file in recordings(librispeech, split)]) / RATE
    assert all(len(batch) == 1 or len(batch) * max(seconds[batch]) <= budget for batch in batches)


@pytest.mark.parametrize(("stage", "split", "ranks"), [("validate", "val", 3), ("test", "test", 2)])
def test_utterances_beyond_the_budget_are_evaluated_too(
    prepared: Callable[..., LibriSpeech], stage: str, split: str, ranks: int
) -> None:
    data = prepared(stage, max_batch_length=0.5)
    found = []
    for rank in range(ranks):
        data.trainer = during("validating", rank, ranks)
        found += indices(loader_of(data, split))
    assert sorted(found) == [[index] for index in range(COUNTS[split])]


def test_utterances_of_which_each_is_a_batch_are_evaluated_with_any_number_of_ranks_or_refused_with_advice_that_helps(
    prepared: Callable[..., LibriSpeech],
) -> None:
    data = prepared("test", max_batch_length=0.5)
    found = []
    for rank in range(3):
        data.trainer = during("testing", rank, world_size=3)
        try:
            found += indices(data.test_dataloader())
        except InputError as error:
            assert "lower max_batch_length" not in str(error)  # noqa: PT017
            return
    assert sorted(itertools.chain(*found)) == [0, 1, 2, 3]


def test_more_ranks_than_utterances_are_refused(prepared: Callable[..., LibriSpeech]) -> None:
    data = prepared("validate")
    data.trainer = during("validating", world_size=7)
    with pytest.raises(InputError, match="too few for 7 processes"):
        data.val_dataloader()


def test_most_utterances_in_a_batch_hold_in_evaluation_too(prepared: Callable[..., LibriSpeech]) -> None:
    assert all(len(batch) <= 2 for batch in indices(prepared("validate", max_batch_ex=2).val_dataloader()))


@pytest.mark.parametrize("too_long", ["drop", "warn", "alone"])
@pytest.mark.filterwarnings("ignore:.*longer than the budget")
def test_training_utterances_beyond_the_budget_are_treated_as_said(
    prepared: Callable[..., LibriSpeech], librispeech: Path, too_long: Any
) -> None:
    seconds = np.array([soundfile.info(file).frames for file in recordings(librispeech, "train")]) / RATE / SLOWEST
    budget = float(np.median(seconds))
    beyond = set(np.flatnonzero(seconds > budget).tolist())
    batches = epoch_of(prepared("fit", max_batch_length=budget, too_long=too_long), 0)
    found = sorted(itertools.chain(*batches))
    assert found == [index for index in range(COUNTS["train"]) if too_long != "drop" or index not in beyond]
    assert all(len(batch) == 1 for batch in batches if beyond & set(batch))


def test_training_utterances_beyond_the_budget_are_an_error_that_says_what_to_do(
    prepared: Callable[..., LibriSpeech],
) -> None:
    with pytest.raises(InputError, match="longer than the budget") as error:
        prepared("fit", max_batch_length=0.9).train_dataloader()
    assert "max_batch_length" in str(error.value)
    assert "too_long" in str(error.value)
    assert "data" in str(error.value)
