"""CTC: losses, the fewest frames, and the best path."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modules.networks.ctc import BLANK, Hypothesis, best_path, ctc_losses, frames_needed

LABELS = st.lists(st.integers(1, 3), min_size=0, max_size=6)


def collapse(path: tuple[int, ...]) -> list[int]:
    return [label for label, _ in itertools.groupby(path) if label != BLANK]


@given(st.lists(LABELS, min_size=1, max_size=3), st.integers(0, 2))
def test_frames_needed_is_the_length_of_the_shortest_path_of_the_labels(batch: list[list[int]], padding: int) -> None:
    width = max(1, *map(len, batch)) + padding
    padded = torch.tensor([labels + [1] * (width - len(labels)) for labels in batch], dtype=torch.int64)
    padded = padded.reshape(len(batch), width)
    needed = frames_needed(padded, torch.tensor([len(labels) for labels in batch]))
    for labels, count in zip(batch, needed.tolist(), strict=True):
        repeated = sum(a == b for a, b in itertools.pairwise(labels))
        assert count == len(labels) + repeated


def test_loss_is_that_of_all_paths_of_the_labels() -> None:
    log_probs = torch.randn(1, 4, 3).log_softmax(-1)
    paths = [path for path in itertools.product(range(3), repeat=4) if collapse(path) == [1, 1]]
    expected = -torch.logsumexp(torch.stack([log_probs[0, range(4), path].sum() for path in paths]), 0)
    found = ctc_losses(log_probs, torch.tensor([4]), torch.tensor([[1, 1]]), torch.tensor([2]))
    assert found.tolist() == pytest.approx([expected.item()], rel=1e-5)


def test_labels_that_do_not_fit_cost_nothing_and_leave_no_gradient() -> None:
    logits = torch.randn(2, 3, 4, requires_grad=True)
    labels, lengths = torch.tensor([[1, 1, 2], [1, 2, 3]]), torch.tensor([3, 3])
    losses = ctc_losses(logits.log_softmax(-1), torch.tensor([3, 3]), labels, lengths)
    assert losses[0] == 0
    assert 0 < losses[1] < math.inf
    losses.sum().backward()
    assert logits.grad is not None
    assert not logits.grad[0].any()
    assert logits.grad[1].any()


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(0, 4))
def test_best_path_collapses_repetitions_and_leaves_out_blanks(path: list[int], padding: int) -> None:
    probabilities = torch.full((1, len(path) + padding, 4), 0.1)
    heights = torch.linspace(0.5, 0.7, len(path))
    for frame, label in enumerate(path):
        probabilities[0, frame, label] = heights[frame]
    probabilities[0, len(path) :, 2] = 0.9  # padding
    (found,) = best_path(probabilities.log(), torch.tensor([len(path)]))
    assert found.labels == collapse(tuple(path))
    assert [path[frame] for frame in found.frames] == found.labels
    assert found.frames == sorted(set(found.frames))
    # Each label stands at its likeliest frame: here the last of its run.
    assert all(frame == len(path) - 1 or path[frame + 1] != path[frame] for frame in found.frames)
    assert found.confidences == pytest.approx([heights[frame].item() for frame in found.frames])


def test_nothing_but_blanks_gives_no_labels() -> None:
    log_probs = torch.tensor([[[0.0, -9.0], [0.0, -9.0]]])
    assert best_path(log_probs, torch.tensor([2])) == [Hypothesis([], [], [])]
