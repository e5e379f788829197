"""Every row is in one split, and random splits are the same for every run."""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.clicks.splits import SPLITS, SplitRule
from sextant.errors import InputError

HOW = st.sampled_from(["chronological", "random"])


@settings(max_examples=100, deadline=None)
@given(total=st.integers(0, 300), how=HOW, bounds=st.lists(st.floats(0, 1), min_size=2, max_size=2))
def test_each_row_is_in_one_split_and_splits_know_which_they_hold(
    total: int, how: Literal["chronological", "random"], bounds: list[float]
) -> None:
    low, high = sorted(bounds)
    fractions = (low, high - low, 1 - high)
    portions = SplitRule(how, fractions).portions({"train": total})
    assert list(portions) == list(SPLITS)
    rows = {split: portion.rows(np.arange(portion.size)) for split, portion in portions.items()}
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(total))
    for (split, portion), fraction in zip(portions.items(), fractions, strict=True):
        assert abs(portion.size - fraction * total) <= 1
        assert np.flatnonzero(portion.holds(np.arange(total))).tolist() == sorted(rows[split].tolist())
    if how == "chronological":
        assert np.concatenate(list(rows.values())).tolist() == list(range(total))


def test_random_splits_are_random_and_always_the_same() -> None:
    first, second = (SplitRule("random", (0.7, 0.2, 0.1)).portions({"train": 1000}) for _ in range(2))
    test = first["test"].rows(np.arange(100))
    assert test.tolist() == second["test"].rows(np.arange(100)).tolist()
    assert 400 < test.mean() < 600
    assert 250 < test.std() < 330  # 289 is expected


def test_files_of_their_own_make_the_splits() -> None:
    portions = SplitRule("random", (0.7, 0.2, 0.1)).portions({"train": 5, "val": 3, "test": 2})
    assert [(split, portion.rows(np.arange(portion.size)).tolist()) for split, portion in portions.items()] == [
        ("train", [0, 1, 2, 3, 4]),
        ("val", [5, 6, 7]),
        ("test", [8, 9]),
    ]


@pytest.mark.parametrize(
    "fractions",
    [(0.5, 0.5), (0.8, 0.1, 0.2), (0.8, 0.1, 0.05), (0.0, 0.0, 0.0), (0.7, 0.2, 0.0999), (1.1, -0.1, 0.0), ()],
)
def test_fractions_that_do_not_make_a_whole_are_an_input_error(fractions: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match=r"data.files.fractions is .* three fractions"):
        SplitRule("chronological", fractions)
