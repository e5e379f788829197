"""Orders are permutations in which neighbors are as like as was asked for."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.samplers.length_order import LengthOrder
from sextant.samplers.packing import pack

LENGTHS = st.lists(st.floats(0.5, 40), min_size=1, max_size=80).map(np.array)


def made(order: LengthOrder, lengths: np.ndarray, budget: float, seed: int) -> float:
    """The fraction of padding in an epoch."""
    drawn = lengths[order.draw(np.random.default_rng(seed))]
    starts = pack(drawn[:, None], np.array([budget]))
    return float(1 - lengths.sum() / (np.maximum.reduceat(drawn, starts) * np.diff(starts, append=len(drawn))).sum())


@given(LENGTHS, st.floats(0, 0.9), st.floats(0, 2), st.integers(0, 9))
def test_order_is_a_permutation_that_the_generator_alone_decides(
    lengths: np.ndarray, padding: float, noise: float, seed: int
) -> None:
    order = LengthOrder.with_padding(lengths, 100, padding)
    drawn = order.draw(np.random.default_rng(seed), noise)
    assert sorted(drawn.tolist()) == list(range(len(lengths)))
    assert np.array_equal(drawn, order.draw(np.random.default_rng(seed), noise))


@given(LENGTHS, st.floats(0, 0.9))
def test_without_noise_the_order_is_that_of_the_lengths(lengths: np.ndarray, padding: float) -> None:
    drawn = LengthOrder.with_padding(lengths, 100, padding).draw(np.random.default_rng(0), 0.0)
    assert (np.diff(lengths[drawn]) >= -1e-9 * lengths.max()).all()


@given(LENGTHS, st.sets(st.floats(1, 60), min_size=1, max_size=5))
def test_lower_buckets_come_first_and_an_edge_belongs_to_the_bucket_below(
    lengths: np.ndarray, edges: set[float]
) -> None:
    boundaries = sorted(edges)
    order = LengthOrder.in_buckets(lengths, boundaries)
    buckets = [sum(length > edge for edge in boundaries) for length in lengths]
    assert order.buckets.tolist() == buckets
    assert np.array(buckets)[order.draw(np.random.default_rng(0))].tolist() == sorted(buckets)


@given(LENGTHS, st.integers(1, 9))
def test_fitted_buckets_are_ranges_of_lengths_and_no_more_than_asked_for(lengths: np.ndarray, count: int) -> None:
    buckets = LengthOrder.in_fitted_buckets(lengths, 100, count).buckets
    assert (np.diff(buckets[np.argsort(lengths, kind="stable")]) >= 0).all()
    assert buckets.max() < count


@pytest.mark.parametrize("padding", [0.02, 0.1])
def test_calibrated_order_meets_the_padding_where_few_lengths_occur(padding: float) -> None:
    lengths = np.random.default_rng(0).choice([7.0, 8.0, 9.0, 10.0, 11.0, 13.0], 20_000)
    budget = 64 * 13.0
    order = LengthOrder.with_padding(lengths, budget, padding)
    calibrated = order.calibrated(lengths, budget, None, padding, partial(np.random.default_rng, 1))
    assert made(calibrated, lengths, budget, seed=2) == pytest.approx(padding, rel=0.2)


def test_more_padding_is_more_random() -> None:
    """The same batch-mates are met again less often."""
    lengths = np.random.default_rng(0).uniform(2, 30, 5000)
    moved = []
    for padding in (0.01, 0.05, 0.2):
        order = LengthOrder.with_padding(lengths, 600, padding)
        places = [np.argsort(order.draw(np.random.default_rng(seed))) for seed in (0, 1)]
        moved.append(np.abs(places[0] - places[1]).mean())
    assert moved[0] < 0.5 * moved[1] < 0.25 * moved[2]
