"""Scores of a confusion matrix that were worked out by hand."""

import math

import pytest
import torch

from modules.metrics.confusion import class_overlap, segmentation_scores


def test_scores_are_those_worked_out_by_hand() -> None:
    confusion = torch.tensor([[6, 2, 0], [1, 3, 0], [2, 0, 2]])
    assert class_overlap(confusion).tolist() == pytest.approx([6 / 11, 3 / 6, 2 / 4])
    scores = segmentation_scores(confusion)
    assert scores["miou"].item() == pytest.approx((6 / 11 + 0.5 + 0.5) / 3)
    assert scores["pixel_accuracy"].item() == pytest.approx(11 / 16)


def test_class_that_only_was_predicted_counts_and_one_that_is_nowhere_does_not() -> None:
    confusion = torch.tensor([[3, 1, 0], [0, 0, 0], [0, 0, 0]])
    overlap = class_overlap(confusion)
    assert overlap[:2].tolist() == [0.75, 0.0]
    assert overlap[2].isnan()
    assert segmentation_scores(confusion)["miou"] == 0.375


def test_single_pixels_count_among_billions() -> None:
    confusion = torch.tensor([[3_000_000_000, 1], [0, 0]])
    assert segmentation_scores(confusion)["pixel_accuracy"].item() == 3_000_000_000 / 3_000_000_001


def test_nothing_labeled_has_no_score() -> None:
    scores = segmentation_scores(torch.zeros(2, 2, dtype=torch.int64))
    assert all(math.isnan(score) for score in scores.values())
