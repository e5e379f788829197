"""Utterances are drawn with what was said and what was recognized."""

import numpy as np
import pytest

from callbacks.recognized_speech import draw_utterances


def test_each_utterance_has_its_name_its_transcript_and_the_text_in_green_where_it_is_right() -> None:
    features = [np.zeros((40, 8)), np.ones((70, 8)), np.ones((20, 8))]
    transcripts = ["A B", "C $D$", "E" * 200]
    figure = draw_utterances(features, 0.01, ["one", "two", "three"], transcripts, ["A B", "", "F"])
    rows = figure.axes
    assert [row.get_title(loc="left").splitlines()[0] for row in rows] == ["one", "two", "three"]
    assert [row.get_title(loc="left").splitlines()[1] for row in rows] == ["A B", "C $D$", "E" * 127 + "..."]
    assert [row.get_xlabel() for row in rows] == ["A B", "(nothing)", "F"]
    assert [row.xaxis.label.get_color() for row in rows] == ["green", "red", "red"]
    assert [row.get_xlim()[1] for row in rows] == pytest.approx([0.4, 0.7, 0.2])
    figure.canvas.draw()
