"""The budget that is found is about the largest that fits."""

import pytest

from sextant.samplers.largest_budget import largest_fitting


@pytest.mark.parametrize("tolerance", [0.01, 0.05, 0.3])
@pytest.mark.parametrize("constant", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("truth", [33.0, 1000.0, 9999.0])
def test_found_budget_is_within_the_tolerance_and_much_more_than_there_is_was_never_asked_for(
    truth: float, constant: float, tolerance: float
) -> None:
    asked = []

    def load(budget: float) -> float:
        asked.append(budget)
        return constant + (1 - constant) * budget / truth

    found = largest_fitting(load, 8.0, 1e6, tolerance)
    assert (1 - tolerance) * truth <= found <= truth
    assert load(max(asked)) <= (1 + tolerance) * 1.001
    assert found in asked


def test_memory_that_grows_with_the_square_and_memory_without_a_known_end_are_searched_as_well() -> None:
    assert 950 <= largest_fitting(lambda budget: (budget / 1000) ** 2, 30.0, 1e6, 0.05) <= 1000
    asked = []

    def load(budget: float) -> float:
        asked.append(budget)
        return 0.0 if budget <= 1000 else float("inf")

    assert 950 <= largest_fitting(load, 30.0, 1e6, 0.05) <= 1000
    assert asked[:7] == [30, 60, 120, 240, 480, 960, 1920]
    assert len(asked) <= 12


def test_search_begins_with_the_least_and_ends_with_the_most() -> None:
    least = 8.123456789
    assert largest_fitting(lambda budget: 1.001, least, 100.0, 0.05) == 0
    assert largest_fitting(lambda budget: 1.0 if budget == least else 1.001, least, 100.0, 0.05) == least
    assert largest_fitting(lambda budget: 0.2, least, 9.87654321, 0.05) == 9.87654321
    assert largest_fitting(lambda budget: 0.2, least, least, 0.05) == least


def test_search_is_bounded_where_memory_is_always_just_full() -> None:
    asked = []
    largest_fitting(lambda budget: asked.append(budget) or 1.0, 8.0, 1e9, 0.01)  # type: ignore[func-returns-value]
    assert len(asked) == 20
    assert asked == sorted(set(asked))
