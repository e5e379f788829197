"""Speech recognition: features of an utterance in, a transcript out, with times and confidence."""

from typing import Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn
from torchmetrics import MetricCollection, SumMetric
from torchmetrics.text import CharErrorRate, WordErrorRate
from typing_extensions import override

from modules.beam_search import BeamSearch, Decoding
from modules.networks.conformer import SUBSAMPLING, Conformer, ConformerArchitecture, LogProbabilities, mask_of
from modules.networks.ctc import Hypothesis, best_path, ctc_losses, frames_needed
from modules.transcript import mean_confidence, text_of, words_of
from sextant.data_spec import DataSpec
from sextant.errors import InputError
from sextant.export.graph import BATCH, ArgMax, Axis, ExportGraph, GraphInput
from sextant.lightning_internals import is_fitting
from sextant.module import BaseModule

NAMED = 5  # utterances that a message names


class SpeechRecognizer(BaseModule):
    """Recognize speech with a Conformer and connectionist temporal classification (CTC).

    Args:
        vocab_size: number of labels, the blank among them, the same as the data's.
        num_features: features of a frame, the same as the data's.
        architecture: sizes of the network.
        decay_norm_and_bias: whether weight decay holds for biases and normalization too.
        optimizer: makes the optimizer from the parameters.
        scheduler: makes the learning-rate schedule. ``sextant.optimization.WarmupCosine`` spans the run,
            ``ReduceLROnPlateau`` is stepped with each validation, any other at the end of each epoch.
        decoding: how ``validate``, ``test`` and ``predict`` decode; it may differ from the checkpoint's. Validations of
            a training run take the best path.

    Batch: ``features``, a pair of float (B, T, num_features) and their lengths in frames int64 (B,); ``labels``, a pair
    of int64 (B, U) and their lengths int64 (B,); ``text`` and ``id``, lists of B texts; ``index`` int64 (B,). In
    ``predict``: ``features``; ``start`` and ``end`` float (B,), of an utterance in its file, in seconds;
    ``frame_seconds``, a float, from one frame to the next.

    Logged for train, val and test: ``loss`` (nats per label, over all labels) and ``unalignable``, the number of
    utterances with fewer encoded frames than CTC needs for their labels, which are left out of the loss. For val and
    test: ``wer`` and ``cer``, word and character errors (substitutions, deletions, insertions) as fractions of the
    words and characters of the split's transcripts. For each training step: ``padding``, the fraction of the frames
    that are padding.
    """

    free_settings = frozenset({"decoding"})
    headline = "wer"

    def __init__(
        self,
        vocab_size: int = 29,
        num_features: int = 80,
        architecture: ConformerArchitecture | None = None,
        decay_norm_and_bias: bool = True,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        scheduler: LRSchedulerCallable | None = None,
        decoding: Decoding | None = None,
    ) -> None:
        super().__init__(optimizer, scheduler, decay_norm_and_bias)
        if vocab_size < 2:
            raise InputError(f"model.vocab_size is {vocab_size}; it must be 2 (the blank and one label) or more.")
        if num_features < 1:
            raise InputError(f"model.num_features is {num_features}; it must be 1 or more.")
        self.vocab_size = vocab_size
        self.num_features = num_features
        self.decoding = decoding or Decoding()
        architecture = architecture or ConformerArchitecture()
        self.network = Conformer(num_features, architecture)
        self.output = nn.Linear(architecture.dim, vocab_size)
        self.example_input_array = (torch.zeros(1, 100, num_features), torch.tensor([100]))
        self.add_metrics({"unalignable": SumMetric()})
        self.add_metrics({"wer": WordErrorRate(), "cer": CharErrorRate()}, ("val", "test"))
        self._search: BeamSearch | None = None
        self._unalignable: set[str] = set()  # that a warning has named

    @override
    def check_data(self, spec: DataSpec) -> None:
        spec.require_label_count(self.vocab_size, "vocab_size")
        features = spec.input_sizes.get("num_features", self.num_features)
        if features != self.num_features:
            raise InputError(
                f"model.num_features is {self.num_features}, but the data has {features} "
                "(data.features.num_features). Give both the same."
            )

    @override
    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Utterances, padded on the right, to the log-probabilities of their labels.

        Args:
            features: float (B, T, num_features).
            lengths: in frames, int64 (B,).

        Returns:
            Log-probabilities (B, ceil(T / 4), vocab_size), label 0 being the blank, and their lengths in encoded
            frames, int64 (B,).
        """
        encoded, frames = self.network(features, lengths)
        return self.output(encoded).float().log_softmax(-1), frames

    @override
    def step(self, batch: dict[str, Any], metrics: MetricCollection) -> dict[str, Any]:
        log_probs, frames = self(*batch["features"])
        labels, lengths = batch["labels"]
        alignable = frames_needed(labels, lengths) <= frames
        if not alignable.all():
            self._report_unalignable([name for name, ok in zip(batch["id"], alignable.tolist(), strict=True) if not ok])
        count = lengths[alignable].sum()
        loss = ctc_losses(log_probs, frames, labels, lengths).sum() / count.clamp(min=1)
        metrics["loss"].update(loss.detach(), count)
        metrics["unalignable"].update((~alignable).sum())
        if "wer" in metrics:
            texts = self._texts(self._decode(log_probs, frames))
            metrics["wer"].update(texts, batch["text"])
            metrics["cer"].update(texts, batch["text"])
        return {"loss": loss}

    def _report_unalignable(self, names: list[str]) -> None:
        if not set(names) <= self._unalignable:
            self._unalignable |= set(names)
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            rank_zero_warn(
                f"Too short for their labels, so left out of the loss: {', '.join(names[:NAMED])}{more}. Their "
                "transcripts may be those of others, or too long for frames of four."
            )

    @override
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        features, lengths = batch["features"]
        self.log("train/padding", 1 - lengths.sum() / (len(features) * features.shape[1]))
        return super().training_step(batch, batch_idx)

    @override
    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> list[dict[str, Any]]:
        """For each utterance a row.

        ``start`` and ``end`` say where it is in its file, in seconds; ``text`` is the transcript; ``confidence`` the
        mean probability of its labels, each at the frame where it is likeliest, 0 without any; ``words`` a list of
        ``word``, ``start``, ``end`` (the frames of its first and last label, in seconds) and ``confidence``.

        Raises:
            InputError: no checkpoint was loaded, so there is no vocabulary.
        """
        vocabulary = self.data_spec.require_labels()
        hypotheses = self._decode(*self(*batch["features"]))
        seconds = SUBSAMPLING * batch["frame_seconds"]
        return [
            {
                "start": round(start, 3),
                "end": round(end, 3),
                "text": text_of(hypothesis.labels, vocabulary),
                "confidence": mean_confidence(hypothesis.confidences),
                "words": words_of(hypothesis, vocabulary, start, seconds),
            }
            for hypothesis, start, end in zip(hypotheses, batch["start"].tolist(), batch["end"].tolist(), strict=True)
        ]

    def transcribe(self, features: Tensor, lengths: Tensor) -> list[str]:
        """The texts that are recognized in utterances.

        Args:
            features: float (B, T, num_features), padded on the right.
            lengths: in frames, int64 (B,).

        Raises:
            InputError: no checkpoint was loaded, so there is no vocabulary.
        """
        return self._texts(self._decode(*self(features, lengths)))

    def _texts(self, hypotheses: list[Hypothesis]) -> list[str]:
        vocabulary = self.data_spec.require_labels()
        return [text_of(hypothesis.labels, vocabulary) for hypothesis in hypotheses]

    def _decode(self, log_probs: Tensor, frames: Tensor) -> list[Hypothesis]:
        if self.decoding.beam_size == 1 or is_fitting(self.trainer):
            return best_path(log_probs, frames)
        if self._search is None:
            self._search = BeamSearch(self.data_spec.require_labels(), self.decoding)
        return self._search(log_probs, frames)

    def export_graph(self) -> ExportGraph:
        """Inputs and outputs of :meth:`forward`: ``features``, ``lengths``, ``log_probabilities``, ``frames``."""
        # Room for 40 s, LibriSpeech's longest utterance has 35. Only for multiples can torch.export see that a single
        # utterance has more than one encoded frame.
        planned = Axis.of_at_most("frames", 4000, low=2 * SUBSAMPLING, multiple=SUBSAMPLING)
        frames = Axis("frames", example=204, low=2 * SUBSAMPLING, planned=planned)
        return ExportGraph(
            network=LogProbabilities(self.network, self.output),
            inputs=(
                GraphInput("features", (BATCH, frames, self.num_features)),
                GraphInput("lengths", (BATCH,), torch.int64),
            ),
            outputs=("log_probabilities", "frames"),
            read=lambda batch: tuple(batch["features"]),
            decide=ArgMax(2),
            names=self.data_spec.labels,
            about={
                "features": "frames of an utterance, padded at the end with any values",
                "lengths": "frames without the padding",
                "log_probabilities": "of each label in each encoded frame, natural logarithms; label 0 is CTC's blank",
                "frames": "encoded frames without the padding",
            },
            valid=lambda outputs: mask_of(outputs[1], outputs[0].shape[1]),
        )
