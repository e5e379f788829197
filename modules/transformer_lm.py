"""A word-level language model: words in, the next word out, and text written with it."""

import itertools
import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn
from torchmetrics import MeanMetric
from typing_extensions import override

from modules.metrics.mean_loss import mean_loss
from modules.networks.linear_cross_entropy import linear_cross_entropy
from modules.networks.sampling import choose, write
from modules.networks.transformer import CausalTransformer, Dropout
from modules.vocabulary import WithVocabulary
from sextant.errors import InputError
from sextant.export.graph import BATCH, ArgMax, Axis, ExportGraph, GraphInput
from sextant.optimization import Optimization, parameter_groups

EOS, UNK = "<eos>", "<unk>"


@dataclass
class Writing:
    """How text is written.

    Args:
        words: how many words to add to the prompt.
        temperature: below 1 the likely words become likelier, above 1 all become more alike; 0 always takes the
            likeliest.
        top_k: draw from the k likeliest words only; 0 from all.
        top_p: draw from the fewest likeliest words that have this probability together, in (0, 1].
        context: the most words that the model sees at a time. Models write best within the length that they were
            trained on.
        unknown: whether ``<unk>`` may be written.
        seed: of what is drawn; each prompt draws by itself.
    """

    words: int = 100
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    context: int = 128
    unknown: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InputError: a value is out of its range.
        """
        for key, right, range_ in (
            ("words", self.words >= 1, "1 or more"),
            ("temperature", 0 <= self.temperature < math.inf, "0 (always the likeliest word) or more"),
            ("top_k", self.top_k >= 0, "0 (all words) or more"),
            ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("context", self.context >= 1, "1 or more"),
        ):
            if not right:
                raise InputError(f"model.writing.{key} is {getattr(self, key)}; it must be {range_}.")


class WordLanguageModel(WithVocabulary):
    """Model text word by word with a causal Transformer.

    Args:
        vocab_size: number of words, the same as the data's.
        embedding_dim: features of a word; a multiple of ``2 * num_heads``.
        num_heads: attention heads.
        num_layers: layers.
        feedforward_dim: hidden features of the layers' feed-forward networks.
        norm: ``post`` normalizes after each sub-layer, as the classic Transformer does, ``pre`` before it.
        positions: ``sinusoidal`` (added to the words) or ``rotary`` (in attention).
        activation: of the feed-forward networks.
        tied: whether input and output share their weights.
        dropout: shares that are dropped while training.
        loss_chunk: positions whose logits exist at a time while the loss is computed; 0 for a whole batch's.
        decay_norm_and_bias: whether weight decay holds for biases and normalization too.
        optimizer: makes the optimizer from the parameters.
        scheduler: makes the learning-rate schedule. ``sextant.optimization.WarmupCosine`` follows the steps of the run,
            ``ReduceLROnPlateau`` the validations, any other the epochs.
        writing: how ``predict`` writes. It may differ from how the checkpoint was made.

    Batch: ``input`` int64 (B, T); ``target`` int64 (B, T), the word after each, -100 where it is not to be predicted
    (in evaluation only); ``prompt``, a list of B texts, in ``predict``.

    Logged for train, val and test: ``loss`` (cross-entropy in nats per token), ``perplexity`` (its exponential) and
    ``bits_per_word``, of the mean over all tokens of the epoch and of all processes.

    The DataModule's ``vocabulary`` (the words, by number) is kept in the checkpoint, so that ``predict`` needs no data.
    """

    free_settings = frozenset({"writing"})

    def __init__(
        self,
        vocab_size: int = 33278,
        embedding_dim: int = 200,
        num_heads: int = 2,
        num_layers: int = 2,
        feedforward_dim: int = 200,
        norm: Literal["pre", "post"] = "post",
        positions: Literal["sinusoidal", "rotary"] = "sinusoidal",
        activation: Literal["relu", "gelu"] = "relu",
        tied: bool = False,
        dropout: Dropout | None = None,
        loss_chunk: int = 256,
        decay_norm_and_bias: bool = True,
        optimizer: OptimizerCallable = torch.optim.SGD,
        scheduler: LRSchedulerCallable | None = None,
        writing: Writing | None = None,
    ) -> None:
        super().__init__()
        for key, value in (
            ("vocab_size", vocab_size),
            ("embedding_dim", embedding_dim),
            ("num_heads", num_heads),
            ("num_layers", num_layers),
            ("feedforward_dim", feedforward_dim),
        ):
            if value < 1:
                raise InputError(f"model.{key} is {value}; it must be 1 or more.")
        if loss_chunk < 0:
            raise InputError(f"model.loss_chunk is {loss_chunk}; it must be 0 (all positions at once) or more.")
        for key, rate in asdict(dropout or Dropout()).items():
            if not 0 <= rate < 1:
                raise InputError(f"model.dropout.{key} is {rate}; it must be 0 or more and below 1.")
        if embedding_dim % (2 * num_heads):
            raise InputError(
                f"model.embedding_dim is {embedding_dim}; it must be a multiple of twice model.num_heads ({num_heads})."
            )
        self.vocab_size = vocab_size
        self.loss_chunk = loss_chunk
        self.decay_norm_and_bias = decay_norm_and_bias
        self.optimization = Optimization(optimizer, scheduler)
        self.writing = writing or Writing()
        self.network = CausalTransformer(
            vocab_size,
            embedding_dim,
            num_heads,
            num_layers,
            feedforward_dim,
            norm,
            positions,
            activation,
            tied,
            dropout,
        )
        self.example_input_array = torch.zeros(1, 8, dtype=torch.int64)
        self.train_loss, self.val_loss, self.test_loss = mean_loss(), mean_loss(), mean_loss()

    @override
    def forward(self, words: Tensor) -> Tensor:
        """Words int64 (B, T) to the logits of the words after them (B, T, vocab_size)."""
        return self.network.output(self.network(words))

    def _step(self, batch: dict[str, Tensor], metric: MeanMetric) -> Tensor:
        features, target = self.network(batch["input"]).flatten(0, 1), batch["target"].flatten()
        if not self.training:  # in training all count; to look would make the processor wait for a GPU
            counts = target >= 0
            features, target = features[counts], target[counts]
        loss = linear_cross_entropy(features, self.network.output, target, self.loss_chunk)
        metric.update(loss.detach(), len(target))
        return loss

    def _log_epoch(self, split: str, metric: MeanMetric) -> dict[str, Tensor]:
        loss = metric.compute()
        metric.reset()
        values = {f"{split}/loss": loss, f"{split}/bits_per_word": loss / math.log(2)}
        self.log_dict(values)
        self.log(f"{split}/perplexity", loss.exp(), prog_bar=split != "train")
        return values | {f"{split}/perplexity": loss.exp()}

    @override
    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        loss = self._step(batch, self.train_loss)
        self.log("train/loss_step", loss)
        self.log("perplexity", loss.detach().exp(), prog_bar=True, logger=False)
        return loss

    @override
    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self._step(batch, self.val_loss)

    @override
    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self._step(batch, self.test_loss)

    @override
    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> list[dict[str, Any]]:
        """For each prompt a row: ``prompt`` and ``text``, which begins with the prompt.

        Raises:
            InputError: no checkpoint was loaded, so there are no words.
        """
        self.need_vocabulary()
        return [
            {"prompt": prompt, "text": self.write(prompt, seed=self.writing.seed + index)}
            for prompt, index in zip(batch["prompt"], batch["index"].tolist(), strict=True)
        ]

    @torch.no_grad()
    def write(self, prompt: str, seed: int) -> str:
        """Write on from a prompt as :attr:`writing` says.

        Args:
            prompt: at least one word; those that are not in the vocabulary count as ``<unk>``, with a warning.
            seed: of what is drawn.

        Returns:
            The prompt and the words after it, with a line break for each ``<eos>``.
        """
        numbers = {word: number for number, word in enumerate(self.vocabulary)}
        words = prompt.split()
        if unknown := [word for word in words if word not in numbers]:
            rank_zero_warn(f"Not in the vocabulary, so the model reads {UNK} for: {' '.join(unknown)}")
        generator = torch.Generator().manual_seed(seed)
        rules = self.writing

        def choose_next(logits: Tensor) -> Tensor:
            if not rules.unknown:
                logits[numbers[UNK]] = -math.inf
            return choose(logits, rules.temperature, rules.top_k, rules.top_p, generator)

        read = torch.tensor([numbers.get(word, numbers[UNK]) for word in words], device=self.device)
        written = itertools.islice(write(self.network, read, rules.context, choose_next), rules.words)
        text = " ".join([*words, *(self.vocabulary[number] for number in written)])
        return "\n".join(line.strip() for line in text.split(EOS))

    def export_graph(self) -> ExportGraph:
        """``words`` int64 (B, T) to ``logits`` (B, T, vocab_size) of the words after them."""
        words = Axis("words", example=16, planned=Axis.of_at_most("words", self.writing.context))
        return ExportGraph(
            network=nn.Sequential(self.network, self.network.output),
            inputs=(GraphInput("words", (BATCH, words), torch.int64),),
            outputs=("logits",),
            read=lambda batch: (batch["input"],),
            decide=ArgMax(2),
            names=self.vocabulary,
            about={
                "words": "numbers of words, which are places in classes",
                "logits": "a score of each word to follow",
            },
        )

    @override
    def on_train_epoch_end(self) -> None:
        self._log_epoch("train", self.train_loss)

    @override
    def on_validation_epoch_end(self) -> None:
        self.optimization.validated(self, self._log_epoch("val", self.val_loss))

    @override
    def on_test_epoch_end(self) -> None:
        self._log_epoch("test", self.test_loss)

    @override
    def configure_optimizers(self) -> Any:
        return self.optimization.configure(self, parameter_groups(self.network, self.decay_norm_and_bias))
