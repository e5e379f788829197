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
from sextant.data_spec import DataSpec
from sextant.errors import InputError
from sextant.export.graph import BATCH, NORMALIZED_IMAGE, ArgMax, Axis, ExportGraph, GraphInput
from sextant.mean_loss import mean_loss
from sextant.module import BaseModule
from sextant.optimization import named_groups, parameter_groups

BEST = 5  # answers of a prediction


class VisualQuestionAnswerer(BaseModule):
    """FLAVA that answers questions about images with one answer of a vocabulary.

    Args:
        vocab_size: number of answers, ``<unk>`` among them, the same as the data's; 3,997 for TextVQA's vocabulary.
        weights: a pretrained FLAVA: a name on the Hugging Face hub such as ``facebook/flava-full``, or a folder that
            ``save_pretrained`` wrote. Without it, random weights.
        architecture: the sizes of a FLAVA with random weights; the published model's if not given.
        hidden_dim: hidden features of the head.
        head_dropout: probability with which a hidden feature of the head is dropped while training.
        loss: ``cross_entropy`` on the answer that most annotators gave, or ``binary_cross_entropy`` on the score of
            every answer, summed over the answers (Teney et al. 2018, https://arxiv.org/abs/1708.02711, section 3.2).
        frozen: parts that keep their weights: ``text``, ``image``, ``multimodal``; with all three only the head learns.
        backbone_lr_factor: learning rate of FLAVA as a multiple of the head's, which is the optimizer's. Schedules that
            set one rate for all, as ``OneCycleLR`` does, undo it.
        gradient_checkpointing: compute the layers anew in the backward pass, which saves memory and costs time.
        compiled: run the network through ``torch.compile``.
        decay_norm_and_bias: whether weight decay holds for biases and normalization too.
        optimizer: makes the optimizer from the parameters.
        scheduler: makes the learning-rate schedule. ``sextant.optimization.WarmupCosine`` follows the steps of the run,
            ``ReduceLROnPlateau`` the validations, any other the epochs.

    Batch: ``image`` float (B, 3, S, S), normalized; ``question``, a pair of token ids int64 (B, T), padded on the
    right, and their lengths int64 (B,); ``label`` int64 (B,), the id of the answer that most annotators gave, 0 if it
    is not in the vocabulary; ``answers``, a pair of ids int64 (B, K) of the answers that have a score, padded with 0,
    and their counts int64 (B,); ``scores``, a pair of these scores, float (B, K), padded with 0, and the counts;
    ``index`` int64 (B,). In ``predict``: ``image``, ``question``, ``text`` (a list of B questions), ``index``.

    Logged for train, val and test: ``loss``; ``accuracy``, the fraction of questions whose answer is the one that most
    annotators gave; ``vqa_accuracy``, the mean score of the answers, which is the official VQA accuracy if the data's
    scores are; and ``vqa_ceiling``, the highest ``vqa_accuracy`` that answers from the vocabulary can reach. Id 0
    stands for all answers outside the vocabulary and is never answered.

    The labels of the data, which are the vocabulary, are kept in the checkpoint, so that ``predict`` needs no data set.
    """

    headline = "vqa_accuracy"

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
        super().__init__(optimizer, scheduler, decay_norm_and_bias)
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
        random = architecture or FlavaArchitecture()
        flava = FlavaModel(random.configuration()) if weights is None else pretrained_flava(weights)
        if gradient_checkpointing:
            flava.gradient_checkpointing_enable({"use_reentrant": False})
        self.network = FlavaForAnswers(flava, vocab_size, hidden_dim, head_dropout, frozen)
        if compiled:
            self.network.compile()
        else:  # for which it would be compiled once more
            size, tokens = self.network.image_size, min(12, self.network.max_question_length)
            question = torch.zeros(1, tokens, dtype=torch.int64), torch.tensor([tokens])
            self.example_input_array = (torch.zeros(1, 3, size, size), *question)
        self.add_metrics({name: mean_loss() for name in ("accuracy", "vqa_accuracy", "vqa_ceiling")})

    @override
    def check_data(self, spec: DataSpec) -> None:
        spec.require_label_count(self.vocab_size, "vocab_size")
        network, sizes = self.network, spec.input_sizes
        for setting, size, advice in (
            ("image_size", network.image_size, f"Run with --data.preprocessing.image_size={network.image_size}."),
            ("max_question_length", network.max_question_length, "Lower it."),
            ("tokenizer", network.text_vocab_size, "Give the tokenizer that goes with the model."),
        ):
            given = sizes.get(setting, size)
            if given > size or (setting == "image_size" and given != size):
                raise InputError(
                    f"data.preprocessing.{setting} has {given:,}, but the model is made for {size:,} (model.weights, "
                    f"or model.architecture). {advice}"
                )

    @override
    def forward(self, image: Tensor, question: Tensor, lengths: Tensor) -> Tensor:
        """Logits of the answers (B, A).

        Args:
            image: float (B, 3, S, S), normalized.
            question: token ids int64 (B, T).
            lengths: of the questions, int64 (B,).
        """
        return self.network(image, question, lengths)

    @override
    def step(self, batch: dict[str, Any], metrics: MetricCollection) -> dict[str, Tensor]:
        """The mean ``loss``, and of each question its part in ``losses``, its ``answer`` and that one's ``score``."""
        logits = self(batch["image"], *batch["question"]).float()
        answers, scores = batch["answers"][0], batch["scores"][0].float()
        targets = torch.zeros_like(logits).scatter_(1, answers, scores)
        if self.loss == "cross_entropy":
            losses = F.cross_entropy(logits, batch["label"], reduction="none")
        else:
            losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(1)
        answer = best_answers(logits, 1)[:, 0]
        score = targets.gather(1, answer[:, None])[:, 0]
        metrics["loss"].update(losses.detach())
        metrics["accuracy"].update((answer == batch["label"]).float())
        metrics["vqa_accuracy"].update(score)
        metrics["vqa_ceiling"].update(targets.amax(1))
        return {"loss": losses.mean(), "losses": losses.detach(), "answer": answer, "score": score}

    @override
    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> list[dict[str, Any]]:
        """For each question a row: ``question``, ``answer``, ``probability``, ``top5`` (answers with probabilities).

        With cross-entropy, the probabilities of all answers, id 0 among them, sum to 1; with binary cross-entropy, each
        answer has a probability of its own.

        Raises:
            InputError: no checkpoint was loaded, so there are no answers.
        """
        vocabulary = self.data_spec.require_labels()
        logits = self(batch["image"], *batch["question"]).float()
        best = best_answers(logits, BEST)
        of_all = logits.softmax(1) if self.loss == "cross_entropy" else logits.sigmoid()
        probabilities = of_all.gather(1, best)
        rows = []
        for text, ids, row in zip(batch["text"], best.tolist(), probabilities.tolist(), strict=True):
            top = [
                {"answer": vocabulary[answer], "probability": round(probability, 4)}
                for answer, probability in zip(ids, row, strict=True)
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
            decide=ArgMax(1, first=1),  # id 0 is no answer
            names=list(self.data_spec.labels),
            about={
                "image": NORMALIZED_IMAGE,
                "question": "ids of tokens, padded at the end",
                "lengths": "tokens without the padding",
                "logits": "a score of each answer; answer 0 stands for all others and is never to be chosen",
            },
        )

    def answer_vocabulary(self) -> tuple[str, ...]:
        """The answers by id; ids where neither data nor a checkpoint was read."""
        return self.data_spec.labels or tuple(f"answer {i}" for i in range(self.vocab_size))

    @override
    def parameter_groups(self) -> list[dict[str, Any]]:
        backbone = parameter_groups(self.network.flava, self.decay_norm_and_bias)
        head = parameter_groups(self.network.head, self.decay_norm_and_bias)
        groups = named_groups("backbone", backbone, self.backbone_lr_factor) + named_groups("head", head)
        return [group for group in groups if group["params"]]


def best_answers(logits: Tensor, count: int) -> Tensor:
    """The ids of the likeliest answers, without id 0: int64 (B, at most count)."""
    return logits[:, 1:].topk(min(count, logits.shape[1] - 1)).indices + 1
