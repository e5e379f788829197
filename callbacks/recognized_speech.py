"""Utterances of the validation split in TensorBoard, with their transcripts and what is recognized."""

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from callbacks.tensorboard import FirstValidationBatch
from sextant.contracts import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@runtime_checkable
class Transcriber(Protocol):
    """A module that recognizes speech, with the batches of a SpeechRecognizer."""

    def transcribe(self, features: Tensor, lengths: Tensor) -> list[str]:
        """The texts of utterances (B, T, features) of so many frames (B,)."""


class RecognizedSpeech(FirstValidationBatch):
    """Log features of validation utterances, with both texts, to TensorBoard after each validation.

    The utterances are the same after each epoch, evenly spread over the first batch.

    Args:
        count: how many utterances to show.

    Raises:
        InputError: in ``setup``: the module is no :class:`Transcriber`.
    """

    def __init__(self, count: int = 4) -> None:
        self.count = count

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        require(pl_module, Transcriber, self)

    @override
    def show(self, trainer: Trainer, outputs: Any, batch: dict[str, Any], writer: Any, step: int) -> None:
        module = require(trainer.lightning_module, Transcriber, self)
        features, lengths = batch["features"]
        shown = np.unique(np.linspace(0, len(features) - 1, self.count).round().astype(int)).tolist()
        figure = draw_utterances(
            [features[i, : lengths[i]].float().cpu().numpy() for i in shown],
            batch["frame_seconds"],
            [batch["id"][i] for i in shown],
            [batch["text"][i] for i in shown],
            module.transcribe(features[shown], lengths[shown]),
        )
        writer.add_figure("val/speech", figure, step)


def draw_utterances(
    features: list[np.ndarray], frame_seconds: float, ids: list[str], transcripts: list[str], recognized: list[str]
) -> "Figure":
    """Draw utterances one below the other.

    Args:
        features: N arrays (frames, features).
        frame_seconds: from one frame to the next.
        ids: their N names.
        transcripts: the N transcripts.
        recognized: the N recognized texts, green where they are right, red elsewhere.
    """
    from matplotlib.figure import Figure

    figure = Figure((10, 2.4 * len(features)), layout="constrained")
    rows = figure.subplots(len(features), squeeze=False)[:, 0]
    for row, array, name, target, text in zip(rows, features, ids, transcripts, recognized, strict=True):
        row.imshow(array.T, origin="lower", aspect="auto", extent=(0, len(array) * frame_seconds, 0, array.shape[1]))
        row.set_title(f"{name}\n{_short(target)}", loc="left", fontsize=8, parse_math=False)
        color = "green" if text == target else "red"
        row.set_xlabel(_short(text) or "(nothing)", loc="left", fontsize=8, color=color, parse_math=False)
        row.set_ylabel("mel filter", fontsize=8)
        row.tick_params(labelsize=7)
    return figure


def _short(text: str, longest: int = 130) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."
