"""A word-level language model: words in, the probabilities of the next word out, and text generated from a prompt."""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn
from torchmetrics import MetricCollection
from typing_extensions import override

from modules.networks.linear_cross_entropy import linear_cross_entropy
from modules.networks.sampling import choose, generate
from modules.networks.transformer import CausalTransformer, Dropout, TransformerArchitecture
from sextant.data_spec import DataSpec
from sextant.errors import InputError
from sextant.export.graph import BATCH, ArgMax, Axis, ExportGraph, GraphInput
from sextant.module import BaseModule, Split

EOS, UNK = "<eos>", "<unk>"


@dataclass
class Generation:
    """How text is generated. Settings that transformers' ``GenerationConfig`` has too have its names.

    Args:
        max_new_tokens: how many words to add to the prompt.
        temperature: below 1 likely words become likelier, above 1 all become more alike; 0 always takes the likeliest.
        top_k: draw from the k likeliest words only; 0 from all.
        top_p: draw from the fewest likeliest words whose probabilities sum to this, in (0, 1].
        context: the most words that the model reads at a time; best not more than it was trained on.
        allow_unknown: whether ``<unk>`` may be generated.
        seed: of what is drawn; a prompt's text does not depend on the other prompts.

    Raises:
        InputError: a value is out of its range.
    """

    max_new_tokens: int = 100
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    context: int = 128
    allow_unknown: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for key, allowed, range_ in (
            ("max_new_tokens", self.max_new_tokens >= 1, "1 or more"),
            ("temperature", 0 <= self.temperature < math.inf, "0 (always the likeliest word) or more"),
            ("top_k", self.top_k >= 0, "0 (all words) or more"),
            ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("context", self.context >= 1, "1 or more"),
        ):
            if not allowed:
                raise InputError(f"model.generation.{key} is {getattr(self, key)}; it must be {range_}.")


class WordLanguageModel(BaseModule):
    """Model text word by word with a causal Transformer.

    Args:
        vocab_size: number of words, the same as the data's.
        architecture: sizes and form of the network.
        dropout: fractions that are dropped while training; none if not given.
        loss_chunk: positions whose logits are in memory at a time while the loss is computed; 0 for all of a batch.
        decay_norm_and_bias: whether weight decay holds for biases and normalization too.
        optimizer: makes the optimizer from the parameters.
        scheduler: makes the learning-rate schedule. ``sextant.optimization.WarmupCosine`` spans the run,
            ``ReduceLROnPlateau`` is stepped with each validation, any other at the end of each epoch.
        generation: how ``predict`` generates text. It may differ from the checkpoint's.

    Batch: ``input`` int64 (B, T), word ids; ``target`` int64 (B, T), the word after each, -100 where it does not count
    (in evaluation only); ``prompt``, a list of B texts, in ``predict``.

    Logged for train, val and test: ``loss`` (cross-entropy in nats per token), ``perplexity`` (its exponential) and
    ``bits_per_word``, of the mean over all tokens of the epoch and of all processes.
    """

    free_settings = frozenset({"generation"})
    headline = "perplexity"

    def __init__(
        self,
        vocab_size: int = 33278,
        architecture: TransformerArchitecture | None = None,
        dropout: Dropout | None = None,
        loss_chunk: int = 256,
        decay_norm_and_bias: bool = True,
        optimizer: OptimizerCallable = torch.optim.SGD,
        scheduler: LRSchedulerCallable | None = None,
        generation: Generation | None = None,
    ) -> None:
        super().__init__(optimizer, scheduler, decay_norm_and_bias)
        if vocab_size < 1:
            raise InputError(f"model.vocab_size is {vocab_size}; it must be 1 or more.")
        if loss_chunk < 0:
            raise InputError(f"model.loss_chunk is {loss_chunk}; it must be 0 (all positions at once) or more.")
        self.vocab_size = vocab_size
        self.loss_chunk = loss_chunk
        self.generation = generation or Generation()
        self.network = CausalTransformer(vocab_size, architecture, dropout)
        self.example_input_array = torch.zeros(1, 8, dtype=torch.int64)

    @override
    def check_data(self, spec: DataSpec) -> None:
        spec.require_label_count(self.vocab_size, "vocab_size")

    @override
    def forward(self, words: Tensor) -> Tensor:
        """Word ids int64 (B, T) to the logits of the words after them (B, T, vocab_size)."""
        return self.network.output(self.network(words))

    @override
    def step(self, batch: dict[str, Tensor], metrics: MetricCollection) -> dict[str, Any]:
        features, target = self.network(batch["input"]).flatten(0, 1), batch["target"].flatten()
        if not self.training:  # in training all count; to look would make the CPU wait for a GPU
            counts = target >= 0
            features, target = features[counts], target[counts]
        loss = linear_cross_entropy(features, self.network.output, target, self.loss_chunk)
        metrics["loss"].update(loss.detach(), len(target))
        return {"loss": loss}

    @override
    def epoch_values(self, values: dict[str, Tensor], split: Split) -> dict[str, Tensor]:
        loss = values[f"{split}/loss"]
        return values | {f"{split}/perplexity": loss.exp(), f"{split}/bits_per_word": loss / math.log(2)}

    @override
    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> list[dict[str, Any]]:
        """For each prompt a row: ``prompt`` and ``text``, which begins with the prompt.

        Raises:
            InputError: no checkpoint was loaded, so there is no vocabulary.
        """
        return [
            {"prompt": prompt, "text": self.generate(prompt, seed=self.generation.seed + index)}
            for prompt, index in zip(batch["prompt"], batch["index"].tolist(), strict=True)
        ]

    @torch.no_grad()
    def generate(self, prompt: str, seed: int) -> str:
        """Continue a prompt as :attr:`generation` says.

        Args:
            prompt: at least one word; those that are not in the vocabulary are read as ``<unk>``, with a warning.
            seed: of what is drawn.

        Returns:
            The prompt and the words after it, with a line break for each ``<eos>``.

        Raises:
            InputError: no checkpoint was loaded, so there is no vocabulary.
        """
        vocabulary = self.data_spec.require_labels()
        ids = {word: i for i, word in enumerate(vocabulary)}
        words = prompt.split()
        if unknown := [word for word in words if word not in ids]:
            rank_zero_warn(f"Not in the vocabulary, so the model reads {UNK} for: {' '.join(unknown)}")
        generator = torch.Generator().manual_seed(seed)
        settings = self.generation

        def choose_next(logits: Tensor) -> Tensor:
            if not settings.allow_unknown:
                logits[ids[UNK]] = -math.inf
            return choose(logits, settings.temperature, settings.top_k, settings.top_p, generator)

        read = torch.tensor([ids.get(word, ids[UNK]) for word in words], device=self.device)
        generated = itertools.islice(
            generate(self.network, read, settings.context, choose_next), settings.max_new_tokens
        )
        text = " ".join([*words, *(vocabulary[token] for token in generated)])
        return "\n".join(line.strip() for line in text.split(EOS))

    def export_graph(self) -> ExportGraph:
        """``words`` int64 (B, T) to ``logits`` (B, T, vocab_size) of the words after them."""
        words = Axis("words", example=16, planned=Axis.of_at_most("words", self.generation.context))
        return ExportGraph(
            network=nn.Sequential(self.network, self.network.output),
            inputs=(GraphInput("words", (BATCH, words), torch.int64),),
            outputs=("logits",),
            read=lambda batch: (batch["input"],),
            decide=ArgMax(2),
            names=self.data_spec.labels,
            about={
                "words": "ids of words, which are their places in classes",
                "logits": "a score of each word to follow",
            },
        )
