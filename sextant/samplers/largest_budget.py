"""The search for the largest budget of dynamic batches that fits."""

import math
from collections.abc import Callable

MOST_PROBES = 20


def largest_fitting(load: Callable[[float], float], least: float, most: float, tolerance: float) -> float:
    """Find about the largest budget that fits.

    Args:
        load: the fraction of the memory that a budget takes; above 1 it does not fit.
        least: the first budget to try, above 0.
        most: none larger is tried.
        tolerance: by what fraction it may be below one that does not fit, in [0.01, 1).

    Returns:
        A budget that fits, with four digits at most unless it is ``least`` or ``most``; 0 if not even ``least`` does.
    """
    used = load(least)
    if used > 1:
        return 0.0
    low, high, slope = least, math.inf, used / least
    for _ in range(MOST_PROBES - 1):
        if low == most or low >= (1 - tolerance) * high:
            break
        if high == math.inf:
            # Memory is a constant and what grows with the budget: extrapolate linearly to just before it is full.
            full = low + (1 - used) / slope if slope > 0 else math.inf
            budget = min(2 * low, max((1 + tolerance) * low, (1 - tolerance / 2) * full))
        else:
            budget = (low + high) / 2
        budget = min(most, rounded(budget))
        fraction = load(budget)
        if fraction > 1:
            high = budget
        else:
            low, used, slope = budget, fraction, (fraction - used) / (budget - low)
    return low


def rounded(budget: float) -> float:
    """A budget with four digits, so that it can be given by hand."""
    return float(f"{budget:.4g}")
