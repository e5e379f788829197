"""Speech recognition: features of an utterance in, a transcript out, with times and confidence."""

from typing import Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn
from torchmetrics import MetricCollection, SumMetric
from torchmetrics.text import CharErrorRate, WordErrorRate
from typing_extensions import override

from modules.beam_search import BOUNDARY, BeamSearch, Decoding
from modules.networks.conformer import SUBSAMPLING, Conformer, LogProbabilities, mask_of
from modules.networks.ctc import Spelled, best_path, ctc_losses, frames_needed
from modules.vocabulary import WithVocabulary
from sextant.errors import InputError
from sextant.export.graph import BATCH, ArgMax, Axis, ExportGraph, GraphInput
from sextant.mean_loss import mean_loss
from sextant.optimization import Optimization, parameter_groups

NAMED = 5  # utterances that a message names


class SpeechRecognizer(WithVocabulary):
    """Recognize speech with a Conformer and connectionist temporal classification (CTC).

    Args:
        vocab_size: number of labels, the blank among them, the same as the data's.
        num_features: features of a frame of the data.
        dim: features of an encoded frame.
        num_heads: attention heads; ``dim`` is a multiple of twice their number.
        num_layers: layers.
        feedforward_dim: hidden features of the layers' feed-forward networks.
        kernel_size: of the layers' convolutions, in encoded frames of four; odd.
        dropout: share that is dropped in each part while training.
        decay_norm_and_bias: whether weight decay holds for biases and normalization too.
        optimizer: makes the optimizer from the parameters.
        scheduler: makes the learning-rate schedule. ``sextant.optimization.WarmupCosine`` follows the steps of the run,
            ``ReduceLROnPlateau`` the validations, any other the epochs.
        decoding: how ``validate``, ``test`` and ``predict`` read labels from probabilities. While training, validation
            takes the best path. It may differ from how the checkpoint was made.

    Batch: ``features``, a pair of float (B, T, num_features) and the numbers of frames int64 (B,); ``labels``, a pair
    of int64 (B, U) and the numbers of labels int64 (B,); ``text`` and ``id``, lists of B texts; ``index`` int64 (B,).
    In ``predict``: ``features``; ``start`` and ``end`` float (B,), where in its file an utterance is, in seconds;
    ``frame_seconds``, a float, from one frame to the next.

    Logged for train, val and test: ``loss`` (nats per label, over all labels) and ``unalignable``, the utterances that
    have fewer encoded frames than CTC needs for their labels, which are left out of the loss. For val and test: ``wer``
    and ``cer``, word and character errors (substitutions, deletions, insertions) as a share of the words and characters
    of the split's transcripts. For each training step: ``padding``, the share of frames that are padding.

    The DataModule's ``vocabulary`` is kept in the checkpoint, so that ``predict`` needs no transcripts.
    """

    free_settings = frozenset({"decoding"})

    def __init__(
        self,
        vocab_size: int = 29,
        num_features: int = 80,
        dim: int = 144,
        num_heads: int = 4,
        num_layers: int = 16,
        feedforward_dim: int = 576,
        kernel_size: int = 31,
        dropout: float = 0.1,
        decay_norm_and_bias: bool = True,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        scheduler: LRSchedulerCallable | None = None,
        decoding: Decoding | None = None,
    ) -> None:
        super().__init__()
        for key, value in (
            ("num_features", num_features),
            ("dim", dim),
            ("num_heads", num_heads),
            ("num_layers", num_layers),
            ("feedforward_dim", feedforward_dim),
        ):
            if value < 1:
                raise InputError(f"model.{key} is {value}; it must be 1 or more.")
        if vocab_size < 2:
            raise InputError(f"model.vocab_size is {vocab_size}; it must be 2 (the blank and one label) or more.")
        if dim % (2 * num_heads):
            raise InputError(f"model.dim is {dim}; it must be a multiple of twice model.num_heads ({num_heads}).")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise InputError(f"model.kernel_size is {kernel_size}; it must be odd, 1 or more.")
        if not 0 <= dropout < 1:
            raise InputError(f"model.dropout is {dropout}; it must be 0 or more and below 1.")
        self.vocab_size = vocab_size
        self.decay_norm_and_bias = decay_norm_and_bias
        self.optimization = Optimization(optimizer, scheduler)
        self.decoding = decoding or Decoding()
        self.num_features = num_features
        self.network = Conformer(num_features, dim, num_heads, num_layers, feedforward_dim, kernel_size, dropout)
        self.output = nn.Linear(dim, vocab_size)
        self.example_input_array = (torch.zeros(1, 100, num_features), torch.tensor([100]))
        self.train_metrics = self._metrics("train")
        self.val_metrics = self._metrics("val")
        self.test_metrics = self._metrics("test")
        self._search: BeamSearch | None = None
        self._unalignable: set[str] = set()  # that a warning has named

    @staticmethod
    def _metrics(split: str) -> MetricCollection:
        metrics: dict[str, Any] = {"loss": mean_loss(), "unalignable": SumMetric()}
        if split != "train":
            metrics |= {"wer": WordErrorRate(), "cer": CharErrorRate()}
        # Each has arguments of its own, so they are updated one by one and share no state.
        return MetricCollection(metrics, prefix=f"{split}/", compute_groups=False)

    @override
    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Utterances padded on the right to their labels' probabilities.

        Args:
            features: float (B, T, num_features).
            lengths: their frames, int64 (B,).

        Returns:
            Log-probabilities (B, ceil(T / 4), vocab_size), label 0 being the blank, and how many frames of them each
            utterance has, int64 (B,).
        """
        encoded, frames = self.network(features, lengths)
        return self.output(encoded).float().log_softmax(-1), frames

    def _step(self, batch: dict[str, Any], metrics: MetricCollection) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of a batch, and what :meth:`forward` gave."""
        log_probs, frames = self(*batch["features"])
        labels, lengths = batch["labels"]
        possible = frames_needed(labels, lengths) <= frames
        if not possible.all():
            self._report_unalignable([name for name, ok in zip(batch["id"], possible.tolist(), strict=True) if not ok])
        count = lengths[possible].sum()
        loss = ctc_losses(log_probs, frames, labels, lengths).sum() / count.clamp(min=1)
        metrics["loss"].update(loss.detach(), count)
        metrics["unalignable"].update((~possible).sum())
        return loss, log_probs, frames

    def _report_unalignable(self, names: list[str]) -> None:
        if not set(names) <= self._unalignable:
            self._unalignable |= set(names)
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            rank_zero_warn(
                f"Too short for their labels, so left out of the loss: {', '.join(names[:NAMED])}{more}. Their "
                "transcripts may be those of others, or too long for frames of four."
            )

    def _evaluation_step(self, batch: dict[str, Any], metrics: MetricCollection) -> dict[str, list[str]]:
        _, log_probs, frames = self._step(batch, metrics)
        texts = [self.text(spelled.labels) for spelled in self._decode(log_probs, frames)]
        metrics["wer"].update(texts, batch["text"])
        metrics["cer"].update(texts, batch["text"])
        return {"text": texts}

    def _log_epoch(self, metrics: MetricCollection) -> dict[str, Tensor]:
        values = metrics.compute()
        metrics.reset()
        self.log_dict(values)
        return values

    @override
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        loss, _, _ = self._step(batch, self.train_metrics)
        features, lengths = batch["features"]
        self.log("train/loss_step", loss, prog_bar=True)
        self.log("train/padding", 1 - lengths.sum() / (len(features) * features.shape[1]))
        return loss

    @override
    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, list[str]]:
        return self._evaluation_step(batch, self.val_metrics)

    @override
    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self._evaluation_step(batch, self.test_metrics)

    @override
    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> list[dict[str, Any]]:
        """For each utterance a row.

        ``start`` and ``end`` say where it is in its file, in seconds; ``text`` is the transcript; ``confidence`` the
        mean probability of its labels, each at the frame where it is likeliest, 0 without any; ``words`` a list of
        ``word``, ``start``, ``end`` (the frames of its first and last label, in seconds) and ``confidence``.

        Raises:
            InputError: no checkpoint was loaded, so there is no vocabulary.
        """
        self.need_vocabulary()
        spelled = self._decode(*self(*batch["features"]))
        seconds = SUBSAMPLING * batch["frame_seconds"]
        rows = []
        for one, start, end in zip(spelled, batch["start"].tolist(), batch["end"].tolist(), strict=True):
            rows.append(
                {
                    "start": round(start, 3),
                    "end": round(end, 3),
                    "text": self.text(one.labels),
                    "confidence": _mean(one.confidences),
                    "words": self._words(one, start, seconds),
                }
            )
        return rows

    def _decode(self, log_probs: Tensor, frames: Tensor) -> list[Spelled]:
        if self.decoding.beam_size == 1 or self.trainer.state.fn == "fit":
            return best_path(log_probs, frames)
        if self._search is None:
            self._search = BeamSearch(self.vocabulary, self.decoding)
        return self._search(log_probs, frames)

    def text(self, labels: list[int]) -> str:
        """Spell labels out."""
        return " ".join("".join(self.vocabulary[label] for label in labels).replace(BOUNDARY, " ").split())

    def _words(self, spelled: Spelled, start: float, seconds: float) -> list[dict[str, Any]]:
        """The words of an utterance that begins at ``start``, with frames of so many seconds."""
        words: list[tuple[str, list[int]]] = []  # a word, and which of the labels it has
        begins = True
        for place, label in enumerate(spelled.labels):
            piece = self.vocabulary[label]
            begins |= piece.startswith(BOUNDARY)
            if letters := piece.removeprefix(BOUNDARY):
                if begins:
                    words.append(("", []))
                word, places = words[-1]
                words[-1] = word + letters, [*places, place]
                begins = False
        return [
            {
                "word": word,
                "start": round(start + seconds * spelled.frames[places[0]], 3),
                "end": round(start + seconds * (spelled.frames[places[-1]] + 1), 3),
                "confidence": _mean([spelled.confidences[place] for place in places]),
            }
            for word, places in words
        ]

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
            names=self.vocabulary,
            about={
                "features": "frames of an utterance, padded at the end with any numbers",
                "lengths": "frames without the padding",
                "log_probabilities": "of each label in each encoded frame, natural logarithms; label 0 is CTC's blank",
                "frames": "encoded frames without the padding",
            },
            valid=lambda outputs: mask_of(outputs[1], outputs[0].shape[1]),
        )

    @override
    def on_train_epoch_end(self) -> None:
        self._log_epoch(self.train_metrics)

    @override
    def on_validation_epoch_end(self) -> None:
        values = self._log_epoch(self.val_metrics)
        self.log("val_wer", values["val/wer"], prog_bar=True, logger=False)

    @override
    def on_test_epoch_end(self) -> None:
        self._log_epoch(self.test_metrics)

    @override
    def configure_optimizers(self) -> Any:
        return self.optimization.configure(self, parameter_groups(self, self.decay_norm_and_bias))


def _mean(confidences: list[float]) -> float:
    return round(sum(confidences) / len(confidences), 4) if confidences else 0.0
