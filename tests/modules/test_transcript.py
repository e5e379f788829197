"""Transcripts are made of labels, words have times and confidence."""

from modules.networks.ctc import Hypothesis
from modules.transcript import mean_confidence, text_of, words_of

VOCABULARY = ["<blank>", "\u2581", "A", "B", "\u2581CA", "B"]


def test_words_have_the_times_and_the_mean_confidence_of_their_labels() -> None:
    hypothesis = Hypothesis([2, 3, 1, 3, 4, 5], [0, 2, 3, 5, 8, 9], [0.5, 1.0, 0.9, 0.25, 0.5, 1.0])
    assert words_of(hypothesis, VOCABULARY, 10.0, 0.04) == [
        {"word": "AB", "start": 10.0, "end": 10.12, "confidence": 0.75},
        {"word": "B", "start": 10.2, "end": 10.24, "confidence": 0.25},
        {"word": "CAB", "start": 10.32, "end": 10.4, "confidence": 0.75},
    ]


def test_text_has_single_spaces_between_words_and_none_around() -> None:
    assert text_of([2, 3, 1, 3, 4, 5], VOCABULARY) == "AB B CAB"
    assert text_of([1, 1, 2, 1, 1, 4, 1], VOCABULARY) == "A CA"
    assert text_of([], VOCABULARY) == ""


def test_nothing_recognized_has_no_words_and_no_confidence() -> None:
    assert words_of(Hypothesis([1], [0], [0.5]), VOCABULARY, 0.0, 0.04) == []
    assert mean_confidence([]) == 0.0
