"""What batches of utterances hold at most."""

from typing import Any

import numpy as np
import pytest

from datamodules.speech.batching import Batching

SECONDS = np.array([10.0, *[3.0] * 4, *[1.0] * 11])


def test_largest_batches_are_those_with_the_most_attention_the_most_seconds_and_the_most_utterances() -> None:
    """One of 10 s, four of 3 s and eleven of 1 s: 100, 36 and 11 squares of seconds; 10, 12 and 11 seconds."""
    largest = Batching(padding=0.0).largest_batches(SECONDS, 12.0)
    assert [sorted(batch) for batch in largest] == [[0], [1, 2, 3, 4], [*range(5, 16)]]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, (10.0, 160.0)),
        ({"max_batch_ex": 4}, (10.0, 40.0)),
        ({"max_batch_ex": 40}, (10.0, 160.0)),
        ({"quadratic": 10.0}, (20.0, 320.0)),
    ],
)
def test_budgets_that_make_a_difference_are_those_of_the_longest_up_to_all_utterances(
    settings: dict[str, Any], expected: tuple[float, float]
) -> None:
    assert Batching(**settings).length_range(SECONDS) == expected
