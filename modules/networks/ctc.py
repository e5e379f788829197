"""Connectionist temporal classification (CTC): the loss, and the labels of the likeliest path.

Source: Graves et al. 2006 (https://dl.acm.org/doi/10.1145/1143844.1143891).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

BLANK = 0


def frames_needed(labels: Tensor, lengths: Tensor) -> Tensor:
    """The fewest frames that labels can be aligned with: one for each, and a blank between two that are equal.

    Args:
        labels: int64 (B, U), padded.
        lengths: of the labels without padding, int64 (B,).

    Returns:
        int64 (B,).
    """
    pairs = torch.arange(1, labels.shape[1], device=labels.device) < lengths[:, None]
    return lengths + ((labels[:, 1:] == labels[:, :-1]) & pairs).sum(1)


def ctc_losses(log_probs: Tensor, frames: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
    """The negative log-likelihood of each utterance's labels; 0, without a gradient, where they cannot be aligned.

    Args:
        log_probs: (B, T, labels and blank).
        frames: without padding, int64 (B,).
        labels: int64 (B, U), padded.
        lengths: of the labels without padding, int64 (B,).

    Returns:
        float32 (B,), in nats.
    """
    return F.ctc_loss(
        log_probs.float().transpose(0, 1), labels, frames, lengths, BLANK, reduction="none", zero_infinity=True
    )


@dataclass(frozen=True)
class Hypothesis:
    """The labels that were decoded from an utterance.

    Args:
        labels: their ids.
        frames: the frame in which each is likeliest, counted from 0, ascending.
        confidences: its probability there, in [0, 1].
    """

    labels: list[int]
    frames: list[int]
    confidences: list[float]


def best_path(log_probs: Tensor, frames: Tensor) -> list[Hypothesis]:
    """Greedy decoding: the likeliest label of each frame, without repetitions, then without blanks.

    Args:
        log_probs: (B, T, labels and blank).
        frames: without padding, int64 (B,).
    """
    highest, labels = (values.cpu() for values in log_probs.float().max(2))
    return [_collapse(labels[i, :count], highest[i, :count].exp()) for i, count in enumerate(frames.tolist())]


def _collapse(labels: Tensor, probabilities: Tensor) -> Hypothesis:
    kept, frames, confidences = [], [], []
    before = BLANK
    for frame, (label, probability) in enumerate(zip(labels.tolist(), probabilities.tolist(), strict=True)):
        if label != BLANK:
            if label != before:
                kept.append(label)
                frames.append(frame)
                confidences.append(probability)
            elif probability > confidences[-1]:
                frames[-1], confidences[-1] = frame, probability
        before = label
    return Hypothesis(kept, frames, confidences)
