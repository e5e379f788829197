"""Utterances are drawn with what was said and what was recognized."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.utils.data import DataLoader
from typing_extensions import override

from callbacks.recognized_speech import RecognizedSpeech, Utterance, draw_utterances
from tests.callbacks.small_run import Plain, trainer


def test_each_utterance_has_its_name_its_transcript_and_the_text_in_green_where_it_is_right() -> None:
    texts = [("A B", "A B"), ("C $D$", ""), ("E " * 200, "F")]
    frames = [40, 70, 20]
    utterances = [
        Utterance(np.zeros((length, 8)), 0.01, f"id {length}", *pair)
        for length, pair in zip(frames, texts, strict=True)
    ]
    figure = draw_utterances(utterances)
    rows = figure.axes
    titles = [row.get_title(loc="left").split("\n", 1) for row in rows]
    assert [name for name, _ in titles] == ["id 40", "id 70", "id 20"]
    assert [text for _, text in titles[:2]] == ["A B", "C $D$"]
    assert titles[2][1].count("\n") == 1
    assert titles[2][1].endswith("E ...")
    assert [row.get_xlabel() for row in rows] == ["A B", "(nothing)", "F"]
    assert [row.xaxis.label.get_color() for row in rows] == ["green", "red", "red"]
    assert [row.get_xlim()[1] for row in rows] == pytest.approx([0.4, 0.7, 0.2])
    figure.canvas.draw()


class Transcribes(Plain):
    """Recognizes the length of an utterance, and the sum of its frames."""

    def transcribe(self, features: Tensor, lengths: Tensor) -> list[str]:
        return [f"{length} {array.sum():g}" for array, length in zip(features, lengths.tolist(), strict=True)]

    @override
    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        return {}


@pytest.mark.parametrize(("count", "shown"), [(3, [0, 2, 4]), (9, range(5))])
def test_utterances_spread_over_the_batch_are_drawn_without_their_padding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, shown: list[int]
) -> None:
    drawn: list[Utterance] = []

    def draw(utterances: list[Utterance]) -> Figure:
        drawn.extend(utterances)
        return Figure()

    monkeypatch.setattr("callbacks.recognized_speech.draw_utterances", draw)
    lengths = [30, 25, 20, 15, 10]
    features = torch.zeros(5, 30, 8)
    for place, length in enumerate(lengths):
        features[place, :length] = place + 1
    batch = {
        "features": (features, torch.tensor(lengths)),
        "frame_seconds": 0.01,
        "id": [f"id {place}" for place in range(5)],
        "text": [f"text {place}" for place in range(5)],
    }
    module = Transcribes()
    trainer(tmp_path, RecognizedSpeech(count)).validate(module, DataLoader([batch], batch_size=None), verbose=False)  # type: ignore[arg-type]
    assert [one.features.shape for one in drawn] == [(lengths[place], 8) for place in shown]
    assert all((one.features == place + 1).all() for one, place in zip(drawn, shown, strict=True))
    assert {one.frame_seconds for one in drawn} == {0.01}
    assert [one.name for one in drawn] == [f"id {place}" for place in shown]
    assert [one.transcript for one in drawn] == [f"text {place}" for place in shown]
    assert [one.recognized for one in drawn] == [
        f"{lengths[place]} {lengths[place] * 8 * (place + 1)}" for place in shown
    ]
