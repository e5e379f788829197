"""Messages name a few of the examples that are wrong, and count the others."""

import numpy as np
import pytest

from sextant.errors import InputError
from sextant.samplers.checks import budget_text, checked_budgets, checked_lengths, too_long_message


@pytest.mark.parametrize(("count", "end"), [(5, "example 4: 0"), (8, "example 4: 0 and 3 more")])
def test_lengths_that_are_wrong_are_named_up_to_five(count: int, end: str) -> None:
    with pytest.raises(InputError, match=rf"above 0, but example 0: 0, .*{end}\. Leave such examples out\."):
        checked_lengths(np.zeros(count))


def test_lengths_and_budgets_of_one_kind_get_a_second_dimension() -> None:
    assert checked_lengths([1, 2, 3]).tolist() == [[1], [2], [3]]
    assert checked_lengths([(1, 2), (3, 4)]).tolist() == [[1, 2], [3, 4]]
    assert checked_budgets(9, 1).tolist() == [9]
    assert checked_budgets((9, 8), 2).tolist() == [9, 8]


def test_examples_beyond_the_budget_are_counted_and_named() -> None:
    named = [f"example {i}" for i in range(5)]
    assert too_long_message(named, 7, 20, "10") == (
        "7 of 20 examples are longer than the budget of 10: example 0, example 1, example 2, example 3, example 4 and "
        "2 more."
    )


def test_budget_says_what_is_compared_with_it() -> None:
    assert budget_text([10.0], None) == "10"
    assert budget_text((9.5, 8), None) == "9.5, 8"
    assert budget_text([10], 2.5) == "10 (as L + L^2 / 2.5)"
