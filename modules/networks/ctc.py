"""Connectionist temporal classification: what is lost, and which labels the likeliest path spells.

Source: Graves et al. 2006 (https://dl.acm.org/doi/10.1145/1143844.1143891).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

BLANK = 0


def frames_needed(labels: Tensor, lengths: Tensor) -> Tensor:
    """The fewest frames that can spell labels: one for each, and a blank between two that are equal.

    Args:
        labels: int64 (B, U), padded.
        lengths: int64 (B,), how many are no padding.

    Returns:
        int64 (B,).
    """
    pairs = torch.arange(1, labels.shape[1], device=labels.device) < lengths[:, None]
    return lengths + ((labels[:, 1:] == labels[:, :-1]) & pairs).sum(1)


def ctc_losses(log_probs: Tensor, frames: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
    """The negative log-likelihood of each utterance's labels; 0, without a gradient, where no path can spell them.

    Args:
        log_probs: (B, T, labels and blank).
        frames: int64 (B,), how many frames are no padding.
        labels: int64 (B, U), padded.
        lengths: int64 (B,), how many labels are no padding.

    Returns:
        float32 (B,), in nats.
    """
    return F.ctc_loss(
        log_probs.float().transpose(0, 1), labels, frames, lengths, BLANK, reduction="none", zero_infinity=True
    )


@dataclass(frozen=True)
class Spelled:
    """The labels that were recognized in an utterance.

    Args:
        labels: their numbers.
        frames: the frame in which each is likeliest, counted from 0, ascending.
        confidences: its probability there, in [0, 1].
    """

    labels: list[int]
    frames: list[int]
    confidences: list[float]


def best_path(log_probs: Tensor, frames: Tensor) -> list[Spelled]:
    """Take the likeliest label of each frame, leave out repetitions, then blanks.

    Args:
        log_probs: (B, T, labels and blank).
        frames: int64 (B,), how many frames are no padding.
    """
    highest, labels = (values.cpu() for values in log_probs.float().max(2))
    return [_collapse(labels[i, :count], highest[i, :count].exp()) for i, count in enumerate(frames.tolist())]


def _collapse(labels: Tensor, probabilities: Tensor) -> Spelled:
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
    return Spelled(kept, frames, confidences)
