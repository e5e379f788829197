"""Durations as people write them."""

import re

from sextant.errors import InputError

SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


def seconds(duration: str) -> float:
    """The seconds of a duration such as ``3h50m``, ``1d``, ``90m``, ``1.5h`` or ``45s``.

    Raises:
        InputError: it is none.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([dhms])", duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration.replace(" ", ""):
        raise InputError(f"{duration!r} is no duration. Write it with d, h, m and s, such as 3h50m, 90m or 45s.")
    return sum(float(number) * SECONDS[unit] for number, unit in parts)
