"""Transcripts of hypotheses: labels as text, and words with times and confidence."""

from collections.abc import Sequence
from typing import Any

from modules.networks.ctc import Hypothesis

BOUNDARY = "\u2581"  # stands for a space in a vocabulary, as in SentencePiece's


def text_of(labels: Sequence[int], vocabulary: Sequence[str]) -> str:
    """The text of labels, with single spaces between words.

    Args:
        labels: their ids.
        vocabulary: characters or subwords, by id.
    """
    return " ".join("".join(vocabulary[label] for label in labels).replace(BOUNDARY, " ").split())


def words_of(hypothesis: Hypothesis, vocabulary: Sequence[str], start: float, seconds: float) -> list[dict[str, Any]]:
    """The words of an utterance.

    Args:
        hypothesis: what was decoded.
        vocabulary: characters or subwords, by id.
        start: where the utterance starts, in seconds.
        seconds: from one encoded frame to the next.

    Returns:
        For each word ``word``; ``start`` of its first label and ``end`` of its last one, in seconds; and
        ``confidence``, the mean of its labels'.
    """
    words: list[tuple[str, list[int]]] = []  # a word, and the places of its labels
    is_first = True
    for place, label in enumerate(hypothesis.labels):
        subword = vocabulary[label]
        is_first |= subword.startswith(BOUNDARY)
        if letters := subword.removeprefix(BOUNDARY):
            if is_first:
                words.append(("", []))
            word, places = words[-1]
            words[-1] = word + letters, [*places, place]
            is_first = False
    return [
        {
            "word": word,
            "start": round(start + seconds * hypothesis.frames[places[0]], 3),
            "end": round(start + seconds * (hypothesis.frames[places[-1]] + 1), 3),
            "confidence": mean_confidence([hypothesis.confidences[place] for place in places]),
        }
        for word, places in words
    ]


def mean_confidence(confidences: Sequence[float]) -> float:
    """The mean, to four digits; 0 of none."""
    return round(sum(confidences) / len(confidences), 4) if confidences else 0.0
