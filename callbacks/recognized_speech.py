"""Utterances of the validation split in the log, with their transcripts and what is recognized."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from callbacks.card import DPI, INCHES, POINTS, lines
from callbacks.validations import SpreadSamples
from sextant.contracts import require
from sextant.logs.drawing import draw_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINE = 44  # characters of a caption's line


@runtime_checkable
class Transcriber(Protocol):
    """A module that recognizes speech, with the batches of a SpeechRecognizer."""

    def transcribe(self, features: Tensor, lengths: Tensor) -> list[str]:
        """The texts of utterances (B, T, features) of so many frames (B,)."""


class Utterance(NamedTuple):
    """An utterance and what was recognized.

    Args:
        features: float (frames, features).
        frame_seconds: from one frame to the next.
        name: its name.
        transcript: what was said.
        recognized: what was recognized.
    """

    features: np.ndarray
    frame_seconds: float
    name: str
    transcript: str
    recognized: str


class RecognizedSpeech(SpreadSamples[Utterance]):
    """Log features of validation utterances, with both texts, after each validation.

    Args:
        count: how many utterances to show.

    Raises:
        InputError: in ``setup``: the module is no :class:`Transcriber`.
    """

    def __init__(self, count: int = 4) -> None:
        super().__init__(count)

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        require(pl_module, Transcriber, self)

    @override
    def size(self, batch: dict[str, Any]) -> int:
        return len(batch["features"][0])

    @override
    def take(self, trainer: Trainer, outputs: Any, batch: dict[str, Any], places: list[int]) -> Iterable[Utterance]:
        features, lengths = batch["features"]
        texts = require(trainer.lightning_module, Transcriber, self).transcribe(features[places], lengths[places])
        for i, recognized in zip(places, texts, strict=True):
            array = features[i, : lengths[i]].float().cpu().numpy()
            yield Utterance(array, batch["frame_seconds"], batch["id"][i], batch["text"][i], recognized)

    @override
    def draw(self, trainer: Trainer, shown: Sequence[Utterance], step: int) -> None:
        if shown:
            draw_figure(trainer, "val/speech", draw_utterances(shown), step)


def draw_utterances(utterances: Sequence[Utterance]) -> "Figure":
    """Draw utterances one below the other, what was recognized in green where it is right, in red elsewhere."""
    from matplotlib.figure import Figure

    figure = Figure((INCHES, 2.9 * len(utterances)), dpi=DPI, layout="constrained")
    rows = figure.subplots(len(utterances), squeeze=False)[:, 0]
    for row, (array, frame_seconds, name, transcript, recognized) in zip(rows, utterances, strict=True):
        row.imshow(array.T, origin="lower", aspect="auto", extent=(0, len(array) * frame_seconds, 0, array.shape[1]))
        row.set_title(f"{name}\n{lines(transcript, LINE, 2)}", loc="left", fontsize=POINTS, parse_math=False)
        color = "green" if recognized == transcript else "red"
        below = lines(recognized, LINE, 2) or "(nothing)"
        row.set_xlabel(below, loc="left", fontsize=POINTS, color=color, parse_math=False)
        row.tick_params(labelsize=POINTS, labelleft=False, left=False)
    return figure
