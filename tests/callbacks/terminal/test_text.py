"""Numbers and durations as a person reads them."""

import pytest

from callbacks.terminal.text import clock, number, short


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0"),
        (999, "999"),
        (999.6, "1 k"),
        (1_234, "1.23 k"),
        (11_176_512, "11.2 M"),
        (9.996e11, "1 T"),
        (3e15, "3e+03 T"),
    ],
)
def test_count_has_three_digits(count: float, expected: str) -> None:
    assert short(count) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.4, "0:00"), (59.6, "1:00"), (3599.6, "1:00:00"), (93784, "26:03:04")]
)
def test_duration_is_that_of_a_clock(seconds: float, expected: str) -> None:
    assert clock(seconds) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "-"), (0.103199, "0.1032"), (153.21, "153.2"), (1e-7, "1e-07"), (0.0, "0"), (-2.5, "-2.5")],
)
def test_measured_value_has_four_digits(value: float | None, expected: str) -> None:
    assert number(value) == expected
