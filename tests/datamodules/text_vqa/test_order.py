"""Every question comes once, in batches of like length, for any number of ranks and after any stop."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datamodules.text_vqa import TextVQA
from sextant.errors import InputError
from tests.datamodules.recorder import Recorder, bare_trainer
from tests.datamodules.text_vqa.small_data import (
    COUNTS,
    STAGES,
    indices,
    loader_of,
)
from tests.datamodules.trainer_states import during


def epoch_of(data: TextVQA, epoch: int, rank: int = 0, world_size: int = 1) -> list[list[int]]:
    """The training batches of a whole epoch."""
    data.trainer = during("training", rank, world_size)
    data.load_state_dict({"epoch": epoch, "done": []})
    return list(data.train_dataloader().sampler)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_every_training_question_comes_once_an_epoch_in_the_same_batches_for_any_number_of_ranks(
    prepared: Callable[..., TextVQA], ranks: int
) -> None:
    data = prepared("fit")
    for epoch in range(3):
        whole = epoch_of(data, epoch)
        assert [len(batch) for batch in whole] == [12] * 13
        assert sorted(index for batch in whole for index in batch) == list(range(156))
        parts = zip(*(epoch_of(data, epoch, rank, ranks) for rank in range(ranks)), strict=True)
        assert [sorted(index for part in step for index in part) for step in parts] == [*map(sorted, whole)]


def padding(data: TextVQA) -> float:
    """The share of padding in the questions, the mean of some epochs."""
    dataset: Any = data.train_dataloader().dataset
    lengths = dataset.lengths
    batches = [batch for epoch in range(5) for batch in epoch_of(data, epoch)]
    return 1 - 5 * lengths.sum() / sum(lengths[batch].max() * len(batch) for batch in batches)


def test_batches_of_like_length_have_less_padding_than_random_ones(prepared: Callable[..., TextVQA]) -> None:
    wasted = [padding(prepared("fit", padding=share)) for share in (0.0, 0.1, 0.9)]
    assert wasted[0] < 0.02
    assert 0.05 < wasted[1] < 0.2
    assert wasted[2] > 0.25


def test_every_epoch_and_every_seed_has_an_order_of_its_own(prepared: Callable[..., TextVQA]) -> None:
    data = prepared("fit")
    orders = [epoch_of(data, epoch) for epoch in (0, 1, 0)] + [epoch_of(prepared("fit", seed=1), 0)]
    assert orders[0] == orders[2]
    assert orders[1] != orders[0] != orders[3]


@pytest.mark.parametrize(("split", "state"), [("val", "validating"), ("test", "testing")])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_evaluation_covers_a_split_once_with_any_number_of_ranks(
    prepared: Callable[..., TextVQA], split: str, state: str, ranks: int
) -> None:
    data = prepared(STAGES[split])
    seen: list[int] = []
    for rank in range(ranks):
        data.trainer = during(state, rank, ranks)
        seen += [int(index) for batch in loader_of(data, split).sampler for index in batch]
    assert sorted(seen) == list(range(COUNTS[split]))


@pytest.mark.parametrize(
    ("split", "smallest", "enough"), [("train", "3 of 156", 4), ("val", "2 of 91", 5), ("test", "2 of 13", 5)]
)
def test_batch_size_that_the_ranks_cannot_share_is_refused_with_one_that_they_can(
    prepared: Callable[..., TextVQA], split: str, smallest: str, enough: int
) -> None:
    data = prepared(STAGES[split], batch_size=3)
    data.trainer = during("training", 0, 4)
    with pytest.raises(InputError, match=rf"data\.batch_size 3 makes batches of {smallest} .* raise it to {enough},"):
        loader_of(data, split)
    data = prepared(STAGES[split], batch_size=enough)
    data.trainer = during("training", 0, 4)
    assert len(loader_of(data, split)) > 0


def test_run_can_be_stopped_anywhere_and_gone_on_with(prepared: Callable[..., TextVQA], tmp_path: Path) -> None:
    recorder = Recorder()
    data = prepared("fit", batch_size=48)
    bare_trainer(tmp_path, max_epochs=2, limit_val_batches=0).fit(recorder, datamodule=data)
    steps = len(recorder.batches) // 2
    assert steps >= 4
    for first in (recorder.batches[:steps], recorder.batches[steps:]):
        assert sorted(index for batch in first for index in batch) == list(range(156))
    for done in (1, 3, steps, steps + 2):
        resumed = prepared("fit", batch_size=48)
        resumed.load_state_dict(recorder.positions[done - 1])
        end = steps if done < steps else 2 * steps
        assert indices(resumed.train_dataloader()) == recorder.batches[done:end]
