"""A causal Transformer over tokens: the classic form and the modern one, with cached keys and values."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from modules.networks.positions import rotate, sinusoids
from sextant.errors import InputError


@dataclass
class TransformerArchitecture:
    """Sizes and form of a Transformer. The defaults are those of PyTorch's word-language-model example.

    Args:
        embedding_dim: features of a token; a multiple of ``2 * num_heads``.
        num_heads: attention heads.
        num_layers: layers.
        feedforward_dim: hidden features of the layers' feed-forward networks.
        norm: ``post`` normalizes after each sub-layer (Vaswani et al. 2017), ``pre`` before each, and once more at the
            end (Xiong et al. 2020, https://arxiv.org/abs/2002.04745).
        positions: ``sinusoidal`` (added to the embeddings) or ``rotary`` (in attention).
        activation: of the feed-forward networks.
        tied: whether input and output layer share their weights (Press and Wolf 2017,
            https://arxiv.org/abs/1608.05859).

    Raises:
        InputError: a size is out of its range.
    """

    embedding_dim: int = 200
    num_heads: int = 2
    num_layers: int = 2
    feedforward_dim: int = 200
    norm: Literal["pre", "post"] = "post"
    positions: Literal["sinusoidal", "rotary"] = "sinusoidal"
    activation: Literal["relu", "gelu"] = "relu"
    tied: bool = False

    def __post_init__(self) -> None:
        for key in ("embedding_dim", "num_heads", "num_layers", "feedforward_dim"):
            if getattr(self, key) < 1:
                raise InputError(f"model.architecture.{key} is {getattr(self, key)}; it must be 1 or more.")
        if self.embedding_dim % (2 * self.num_heads):
            raise InputError(
                f"model.architecture.embedding_dim is {self.embedding_dim}; it must be a multiple of twice "
                f"model.architecture.num_heads ({self.num_heads})."
            )


@dataclass
class Dropout:
    """Fractions that are dropped at random while training, each in [0, 1).

    Args:
        words: of the vocabulary, whole rows of the input embedding, the same ones in a whole batch (Gal and
            Ghahramani 2016, https://arxiv.org/abs/1512.05287; Merity et al. 2018, https://arxiv.org/abs/1708.02182).
        embedding: of the embedded tokens' features.
        attention: of the attention weights.
        feedforward: of the hidden features.
        residual: of what a sub-layer adds to its input.
        depth: of the sub-layers of the last layer, per sequence; of earlier ones proportionally less (Huang et al.
            2016, https://arxiv.org/abs/1603.09382).
        output: of the features that the next token is predicted from.

    Raises:
        InputError: a fraction is out of its range.
    """

    words: float = 0.0
    embedding: float = 0.0
    attention: float = 0.0
    feedforward: float = 0.0
    residual: float = 0.0
    depth: float = 0.0
    output: float = 0.0

    def __post_init__(self) -> None:
        for key, fraction in asdict(self).items():
            if not 0 <= fraction < 1:
                raise InputError(f"model.dropout.{key} is {fraction}; it must be 0 or more and below 1.")


class KeyValueCache:
    """The keys and values of the tokens before, so that the next token costs one step.

    Args:
        num_layers: layers of the network.
        capacity: tokens that fit in.
    """

    def __init__(self, num_layers: int, capacity: int) -> None:
        self.capacity = capacity
        self.length = 0
        self._keys: list[Tensor | None] = [None] * num_layers
        self._values: list[Tensor | None] = [None] * num_layers

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add a layer's keys and values (B, heads, T, size) of the tokens after ``length``, and return all so far."""
        batch, heads, new, size = keys.shape
        stored_keys, stored_values = self._keys[layer], self._values[layer]
        if stored_keys is None or stored_values is None:
            stored_keys = self._keys[layer] = keys.new_empty(batch, heads, self.capacity, size)
            stored_values = self._values[layer] = values.new_empty(batch, heads, self.capacity, size)
        stop = self.length + new
        stored_keys[:, :, self.length : stop] = keys
        stored_values[:, :, self.length : stop] = values
        return stored_keys[:, :, :stop], stored_values[:, :, :stop]


class CausalSelfAttention(nn.Module):
    """Multi-head attention of each token to itself and the tokens before it.

    Args:
        architecture: sizes; with rotary positions, queries and keys are rotated here.
        dropout: of the attention weights.
    """

    def __init__(self, architecture: TransformerArchitecture, dropout: float) -> None:
        super().__init__()
        self.num_heads = architecture.num_heads
        self.rotary = architecture.positions == "rotary"
        self.dropout = dropout
        self.query_key_value = nn.Linear(architecture.embedding_dim, 3 * architecture.embedding_dim)
        self.output = nn.Linear(architecture.embedding_dim, architecture.embedding_dim)
        # As nn.MultiheadAttention starts.
        nn.init.xavier_uniform_(self.query_key_value.weight)
        nn.init.zeros_(self.query_key_value.bias)
        nn.init.zeros_(self.output.bias)

    def forward(self, x: Tensor, positions: Tensor, cache: KeyValueCache | None, layer: int) -> Tensor:
        """Features (B, T, D) at positions (T,) to features (B, T, D)."""
        query, key, value = self.query_key_value(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        if self.rotary:
            query, key = rotate(query, positions), rotate(key, positions)
        if cache is not None:
            key, value = cache.extend(layer, key, value)
        attended = F.scaled_dot_product_attention(
            query,
            key,
            value,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=cache is None or query.shape[2] > 1,  # a single token after others sees all of them
        )
        return self.output(attended.transpose(1, 2).flatten(2))


class TransformerLayer(nn.Module):
    """Attention and a feed-forward network, each added to its input.

    Args:
        architecture: sizes and form.
        dropout: rates; ``depth`` is that of this layer.
    """

    def __init__(self, architecture: TransformerArchitecture, dropout: Dropout) -> None:
        super().__init__()
        embedding_dim, feedforward_dim = architecture.embedding_dim, architecture.feedforward_dim
        self.pre_norm = architecture.norm == "pre"
        self.attention = CausalSelfAttention(architecture, dropout.attention)
        self.feedforward = nn.Sequential(
            nn.Linear(embedding_dim, feedforward_dim),
            nn.ReLU() if architecture.activation == "relu" else nn.GELU(),
            nn.Dropout(dropout.feedforward),
            nn.Linear(feedforward_dim, embedding_dim),
        )
        self.attention_norm = nn.LayerNorm(embedding_dim)
        self.feedforward_norm = nn.LayerNorm(embedding_dim)
        self.residual = nn.Sequential(nn.Dropout(dropout.residual), StochasticDepth(dropout.depth, "row"))

    def forward(self, x: Tensor, positions: Tensor, cache: KeyValueCache | None, layer: int) -> Tensor:
        """Features (B, T, D) at positions (T,) to features (B, T, D)."""
        if self.pre_norm:
            x = x + self.residual(self.attention(self.attention_norm(x), positions, cache, layer))
            return x + self.residual(self.feedforward(self.feedforward_norm(x)))
        x = self.attention_norm(x + self.residual(self.attention(x, positions, cache, layer)))
        return self.feedforward_norm(x + self.residual(self.feedforward(x)))


class CausalTransformer(nn.Module):
    """Predict each next token from the tokens before it.

    In the default form it computes what ``nn.TransformerEncoder`` does with a causal mask.

    Args:
        vocab_size: tokens that there are.
        architecture: sizes and form.
        dropout: rates.
    """

    def __init__(
        self,
        vocab_size: int,
        architecture: TransformerArchitecture | None = None,
        dropout: Dropout | None = None,
    ) -> None:
        super().__init__()
        form, rates = architecture or TransformerArchitecture(), dropout or Dropout()
        self.sinusoidal = form.positions == "sinusoidal"
        self.word_dropout = rates.words
        self.embedding = nn.Embedding(vocab_size, form.embedding_dim)
        self.embedding_dropout = nn.Dropout(rates.embedding)
        self.layers = nn.ModuleList(
            TransformerLayer(form, replace(rates, depth=rates.depth * (layer + 1) / form.num_layers))
            for layer in range(form.num_layers)
        )
        self.norm = nn.LayerNorm(form.embedding_dim) if form.norm == "pre" else nn.Identity()
        self.output_dropout = nn.Dropout(rates.output)
        self.output = nn.Linear(form.embedding_dim, vocab_size, bias=not form.tied)
        if form.tied:
            self.output.weight = self.embedding.weight
        # As PyTorch's word-language-model example starts.
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        nn.init.uniform_(self.output.weight, -0.1, 0.1)
        if self.output.bias is not None:
            nn.init.zeros_(self.output.bias)

    def embed(self, tokens: Tensor) -> Tensor:
        """Token ids int64 (B, T) to features (B, T, D), with whole words dropped while training."""
        weight = self.embedding.weight
        embedded = F.embedding(tokens, weight)
        if self.training and self.word_dropout:
            kept = torch.empty(len(weight), 1, device=weight.device).bernoulli_(1 - self.word_dropout)
            embedded = embedded * F.embedding(tokens, kept / (1 - self.word_dropout))
        return embedded

    def forward(self, tokens: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Compute the features that the next tokens are predicted from.

        Args:
            tokens: ids, int64 (B, T).
            cache: of the tokens before these; it is extended by them. Only an empty one takes several tokens at once.

        Returns:
            Features (B, T, D); ``output`` makes logits (B, T, vocab_size) of them.
        """
        start = 0 if cache is None else cache.length
        positions = torch.arange(start, start + tokens.shape[1], device=tokens.device, dtype=torch.float32)
        x = self.embed(tokens)
        if self.sinusoidal:
            x = x * math.sqrt(x.shape[-1]) + sinusoids(positions, x.shape[-1])
        x = self.embedding_dropout(x)
        for index, layer in enumerate(self.layers):
            x = layer(x, positions, cache, index)
        if cache is not None:
            cache.length += tokens.shape[1]
        return self.output_dropout(self.norm(x))
