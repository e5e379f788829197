"""Durations as people write them."""

import pytest

from sextant.errors import InputError
from sextant.resume.duration import seconds


@pytest.mark.parametrize(
    ("duration", "expected"),
    [("45s", 45), ("90m", 5_400), ("3h50m", 13_800), ("1d", 86_400), ("1.5h", 5_400), ("1d 2h 3m 4s", 93_784)],
)
def test_duration_is_the_sum_of_its_parts(duration: str, expected: float) -> None:
    assert seconds(duration) == expected


@pytest.mark.parametrize("duration", ["", "3", "3:50", "h", "3h50", "-3h", "3 hours", "h3"])
def test_text_that_is_no_duration_is_refused(duration: str) -> None:
    with pytest.raises(InputError, match=r"is no duration\. Write it with d, h, m and s, such as 3h50m"):
        seconds(duration)
