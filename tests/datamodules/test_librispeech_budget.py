"""What a search for the largest budget needs of the speech data."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datamodules.librispeech import LibriSpeech
from sextant.errors import InputError
from tests.datamodules import speech_data


@pytest.fixture(scope="module")
def make(librispeech: Path, cache: Path) -> Callable[..., LibriSpeech]:
    """The DataModule on the small data set, set up for training."""

    def make(**options: Any) -> LibriSpeech:
        subsets: dict[str, Any] = {"train": ["train-small"], "val": ["dev-small"]}
        data = speech_data.librispeech(
            root=str(librispeech), cache=str(cache), **{"max_batch_length": 6.0} | subsets | options
        )
        data.setup("fit")
        return data

    return make


@pytest.mark.parametrize("options", [{}, {"quadratic": 1.5}, {"max_batch_ex": 3}, {"speeds": []}])
def test_range_of_budgets_begins_where_all_utterances_fit_and_ends_where_batches_grow_no_more(
    make: Callable[..., LibriSpeech], options: dict[str, Any]
) -> None:
    def batches(budget: float) -> list[list[int]]:
        return list(make(max_batch_length=budget, padding=0.0, **options).training_batches(seed=0))

    least, most = make(**options).batch_length_range
    assert sorted(index for batch in batches(least) for index in batch) == list(range(14))
    with pytest.raises(InputError, match="longer than the budget"):
        batches(0.999 * least)
    largest = options.get("max_batch_ex", 14)
    assert max(map(len, batches(most))) == largest
    assert most == pytest.approx(largest * least)
    assert batches(most) == batches(2 * most)


def test_probes_are_the_batches_that_take_the_most_at_the_slowest_speed(make: Callable[..., LibriSpeech]) -> None:
    data = make(max_batch_length=6.0, padding=0.0)
    seconds = 0.9 * data.training_seconds()
    batches = [sorted(batch) for batch in data.training_batches(seed=0)]
    probes = list(data.probe_batches(6.0, torch.device("cpu")))
    assert 1 <= len(probes) <= 3
    assert all(sorted(probe["index"].tolist()) in batches for probe in probes)
    for power in (0, 1, 2):
        most, probed = (
            max(len(batch) * seconds[batch].max() ** power for batch in of)
            for of in (batches, [probe["index"].tolist() for probe in probes])
        )
        assert probed == most
    for probe in probes:
        features, frames = probe["features"]
        slowed = seconds[probe["index"]] / 0.9
        assert np.abs(frames.numpy() - (slowed - 0.032) / 0.01).max() <= 2
        assert features.shape[1] == frames.max()
        assert {"features", "labels", "text", "id", "index"} <= probe.keys()
    assert data.max_batch_length == 6.0


def test_position_holds_a_budget_that_was_found_until_another_one_is_given(make: Callable[..., LibriSpeech]) -> None:
    data = make()
    assert data.state_dict() == {"epoch": 0, "done": []}
    data.max_batch_length = 7.5
    state = data.state_dict()
    for given, used in ((6.0, 7.5), (5.0, 5.0)):
        again = make(max_batch_length=given)
        again.load_state_dict(state)
        assert again.max_batch_length == used
    data.load_state_dict({"epoch": 0, "done": []})
    assert data.max_batch_length == 6.0
