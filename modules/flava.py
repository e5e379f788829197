"""Visual question answering: an image and a question in, answers with probabilities out."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torchmetrics import MetricCollection
from transformers import FlavaModel
from typing_extensions import override

from modules.networks.flava import FlavaArchitecture, FlavaForAnswers, Part, pretrained_flava
from modules.vocabulary import WithVocabulary
from sextant.errors import InputError
from sextant.export.graph import BATCH, NORMALIZED_IMAGE, ArgMax, Axis, ExportGraph, GraphInput
from sextant.mean_loss import mean_loss
from sextant.optimization import Optimization, parameter_groups

BEST = 5  # answers of a prediction


class VisualQuestionAnswerer(WithVocabulary):
    """Answer questions about images by choosing from a vocabulary of answers, with FLAVA.

    Args:
        vocab_size: number of answers, ``<unk>`` among them, the same as the data's; 3,997 for TextVQA's vocabulary.
        weights: pretrained FLAVA: a name on the Hugging Face hub such as ``facebook/flava-full``, or a folder that
            ``save_pretrained`` wrote. Without it, random weights.
        architecture: the sizes of a FLAVA with random weights; the published model's if not given.
        hidden_dim: hidden features of the head.
        head_dropout: share of the head's hidden features that is dropped while training.
        loss: ``cross_entropy`` on the answer that most annotators gave, or ``binary_cross_entropy`` on the score of
            every answer, summed over the answers (Teney et al. 2018, https://arxiv.org/abs/1708.02711, section 3.2).
        frozen: parts that keep their weights: ``text``, ``image``, ``multimodal``; with all three only the head learns.
        backbone_lr_factor: learning rate of FLAVA as a share of the head's, which is the optimizer's. Schedules that
            set one rate for all, as ``OneCycleLR`` does, undo it.
        gradient_checkpointing: compute the layers anew in the backward pass, which saves memory and costs time.
        compiled: run the network through ``torch.compile``.
        decay_norm_and_bias: whether weight decay holds for biases and normalization too.
        optimizer: makes the optimizer from the parameters.
        scheduler: makes the learning-rate schedule. ``sextant.optimization.WarmupCosine`` follows the steps of the run,
            ``ReduceLROnPlateau`` the validations, any other the epochs.

    Batch: ``image`` float (B, 3, S, S), normalized; ``question``, a pair of tokens int64 (B, T), padded on the right,
    and their numbers int64 (B,); ``label`` int64 (B,), the answer that most annotators gave, 0 if it is none of the
    vocabulary; ``answers``, a pair of int64 (B, K), the answers of the vocabulary that have a score, padded with 0, and
    their numbers; ``scores``, a pair of theirs, float (B, K), padded with 0; ``index`` int64 (B,). In ``predict``:
    ``image``, ``question``, ``text`` (a list of B questions), ``index``.

    Logged for train, val and test: ``loss``; ``accuracy``, the share of questions that are answered as most annotators
    did; ``vqa_accuracy``, the mean score of the answers given, which is the official VQA accuracy where the data's
    scores are; and ``vqa_ceiling``, the highest that any answers from the vocabulary would have. Number 0 of the
    vocabulary stands for all other answers and is never given.

    The DataModule's ``vocabulary`` is kept in the checkpoint, so that ``predict`` needs no data set.
    """

    def __init__(
        self,
        vocab_size: int = 3997,
        weights: str | None = None,
        architecture: FlavaArchitecture | None = None,
        hidden_dim: int = 768,
        head_dropout: float = 0.5,
        loss: Literal["cross_entropy", "binary_cross_entropy"] = "cross_entropy",
        frozen: Sequence[Part] = (),
        backbone_lr_factor: float = 1.0,
        gradient_checkpointing: bool = False,
        compiled: bool = False,
        decay_norm_and_bias: bool = True,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__()
        if vocab_size < 2:
            raise InputError(f"model.vocab_size is {vocab_size}; it must be 2 (<unk> and one answer) or more.")
        if hidden_dim < 1:
            raise InputError(f"model.hidden_dim is {hidden_dim}; it must be 1 or more.")
        if not 0 <= head_dropout < 1:
            raise InputError(f"model.head_dropout is {head_dropout}; it must be 0 or more and below 1.")
        if backbone_lr_factor < 0:
            raise InputError(f"model.backbone_lr_factor is {backbone_lr_factor}; it must be 0 or more.")
        if weights is not None and architecture is not None:
            raise InputError("Give either model.weights, which have their own sizes, or model.architecture.")
        self.vocab_size = vocab_size
        self.loss = loss
        self.backbone_lr_factor = backbone_lr_factor
        self.decay_norm_and_bias = decay_norm_and_bias
        self.optimization = Optimization(optimizer, scheduler)
        random = architecture or FlavaArchitecture()
        flava = FlavaModel(random.configuration()) if weights is None else pretrained_flava(weights)
        if gradient_checkpointing:
            flava.gradient_checkpointing_enable({"use_reentrant": False})
        self.network = FlavaForAnswers(flava, vocab_size, hidden_dim, head_dropout, frozen)
        if compiled:
            self.network.compile()
        self.train_metrics = self._metrics("train")
        self.val_metrics = self._metrics("val")
        self.test_metrics = self._metrics("test")

    @staticmethod
    def _metrics(split: str) -> MetricCollection:
        names = ("loss", "accuracy", "vqa_accuracy", "vqa_ceiling")
        # Each has an argument of its own, so they are updated one by one and share no state.
        return MetricCollection({name: mean_loss() for name in names}, prefix=f"{split}/", compute_groups=False)

    @override
    def setup(self, stage: str) -> None:
        """Take the vocabulary from the data.

        Raises:
            InputError: the data's answers, tokens or images are not those that the model is made for.
        """
        super().setup(stage)
        data, sizes = self.trainer.datamodule, self.network  # type: ignore[attr-defined]
        for setting, given, size, advice in (
            ("image_size", data.image_size, sizes.image_size, f"Run with --data.image_size={sizes.image_size}."),
            ("max_question_length", data.max_question_length, sizes.max_question_length, "Lower it."),
            ("tokenizer", data.question_tokens, sizes.question_tokens, "Give the tokenizer that goes with the model."),
        ):
            if given > size or (setting == "image_size" and given != size):
                raise InputError(
                    f"data.{setting} has {given:,}, but the model is made for {size:,} (model.weights, or "
                    f"model.architecture). {advice}"
                )

    @override
    def forward(self, image: Tensor, question: Tensor, lengths: Tensor) -> Tensor:
        """Images float (B, 3, S, S) and questions, tokens int64 (B, T) and their numbers (B,), to logits (B, A)."""
        return self.network(image, question, lengths)

    def _step(self, batch: dict[str, Any], metrics: MetricCollection) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of each question (B,), the answer given (B,) and its score (B,)."""
        logits = self(batch["image"], *batch["question"]).float()
        answers, scores = batch["answers"][0], batch["scores"][0].float()
        targets = torch.zeros_like(logits).scatter_(1, answers, scores)
        if self.loss == "cross_entropy":
            losses = F.cross_entropy(logits, batch["label"], reduction="none")
        else:
            losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(1)
        given = best_answers(logits, 1)[:, 0]
        score = targets.gather(1, given[:, None])[:, 0]
        metrics["loss"].update(losses.detach())
        metrics["accuracy"].update((given == batch["label"]).float())
        metrics["vqa_accuracy"].update(score)
        metrics["vqa_ceiling"].update(targets.amax(1))
        return losses, given, score

    def _log_epoch(self, metrics: MetricCollection) -> dict[str, Tensor]:
        values = metrics.compute()
        metrics.reset()
        self.log_dict(values)
        return values

    @override
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        loss = self._step(batch, self.train_metrics)[0].mean()
        self.log("train/loss_step", loss, prog_bar=True)
        return loss

    @override
    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        losses, given, score = self._step(batch, self.val_metrics)
        return {"losses": losses, "answer": given, "score": score}

    @override
    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self._step(batch, self.test_metrics)

    @override
    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> list[dict[str, Any]]:
        """For each question a row: ``question``, ``answer``, ``probability``, ``top5`` (answers with probabilities).

        Trained with cross-entropy, the probabilities of all answers and of none of them sum to 1; trained with binary
        cross-entropy, each is for itself.

        Raises:
            InputError: no checkpoint was loaded, so there are no answers.
        """
        self.need_vocabulary()
        logits = self(batch["image"], *batch["question"]).float()
        best = best_answers(logits, BEST)
        shares = logits.softmax(1) if self.loss == "cross_entropy" else logits.sigmoid()
        probabilities = shares.gather(1, best)
        rows = []
        for text, numbers, row in zip(batch["text"], best.tolist(), probabilities.tolist(), strict=True):
            top = [
                {"answer": self.vocabulary[number], "probability": round(probability, 4)}
                for number, probability in zip(numbers, row, strict=True)
            ]
            rows.append({"question": text, **top[0], "top5": top})
        return rows

    def export_graph(self) -> ExportGraph:
        """Inputs of :meth:`forward`, ``image``, ``question`` and ``lengths``, to ``logits`` (B, vocab_size)."""
        size, longest = self.network.image_size, self.network.max_question_length
        planned = Axis.of_at_most("tokens", longest, low=2)
        tokens = Axis("tokens", example=min(12, longest), low=2, limit=longest, planned=planned)
        return ExportGraph(
            network=self.network,
            inputs=(
                GraphInput("image", (BATCH, 3, size, size)),
                GraphInput("question", (BATCH, tokens), torch.int64),
                GraphInput("lengths", (BATCH,), torch.int64),
            ),
            outputs=("logits",),
            read=lambda batch: (batch["image"], *batch["question"]),
            decide=ArgMax(1, first=1),  # number 0 is no answer
            names=self.vocabulary,
            about={
                "image": NORMALIZED_IMAGE,
                "question": "numbers of tokens, padded at the end",
                "lengths": "tokens without the padding",
                "logits": "a score of each answer; answer 0 stands for all others, and is not to be given",
            },
        )

    @override
    def on_train_epoch_end(self) -> None:
        self._log_epoch(self.train_metrics)

    @override
    def on_validation_epoch_end(self) -> None:
        values = self._log_epoch(self.val_metrics)
        self.log("val_vqa_accuracy", values["val/vqa_accuracy"], prog_bar=True, logger=False)

    @override
    def on_test_epoch_end(self) -> None:
        self._log_epoch(self.test_metrics)

    @override
    def configure_optimizers(self) -> Any:
        backbone = parameter_groups(self.network.flava, self.decay_norm_and_bias)
        head = parameter_groups(self.network.head, self.decay_norm_and_bias)
        slower = [group | {"lr_factor": self.backbone_lr_factor} for group in backbone]
        return self.optimization.configure(self, [group for group in (*slower, *head) if group["params"]])


def best_answers(logits: Tensor, count: int) -> Tensor:
    """The likeliest answers but number 0, which is none: int64 (B, at most count)."""
    return logits[:, 1:].topk(min(count, logits.shape[1] - 1)).indices + 1
