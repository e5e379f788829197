"""A causal Transformer over words: the classic form and the modern one, with cached keys and values."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from modules.networks.positions import rotate, sinusoids


@dataclass
class Dropout:
    """Shares that are dropped at random while training, each in [0, 1).

    Args:
        words: of the vocabulary, whole rows of the input embedding, the same ones in a whole batch (Gal and
            Ghahramani 2016, https://arxiv.org/abs/1512.05287; Merity et al. 2018, https://arxiv.org/abs/1708.02182).
        embedding: of the embedded words' features.
        attention: of the attention weights.
        feedforward: of the hidden features.
        residual: of what a sub-layer adds to its input.
        depth: of the sub-layers of the last layer, per sequence; of earlier ones proportionally less (Huang et al.
            2016, https://arxiv.org/abs/1603.09382).
        output: of the features that the next word is predicted from.
    """

    words: float = 0.0
    embedding: float = 0.0
    attention: float = 0.0
    feedforward: float = 0.0
    residual: float = 0.0
    depth: float = 0.0
    output: float = 0.0


class KeyValueCache:
    """Keys and values of the words that a network has read, so that the next word costs one step.

    Args:
        num_layers: layers of the network.
        capacity: words that fit in.
    """

    def __init__(self, num_layers: int, capacity: int) -> None:
        self.capacity = capacity
        self.length = 0
        self._keys: list[Tensor | None] = [None] * num_layers
        self._values: list[Tensor | None] = [None] * num_layers

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add a layer's keys and values (B, heads, T, size) of the words after ``length``, and give all so far."""
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
    """Multi-head attention of each word to itself and the words before it.

    Args:
        embedding_dim: features of a word.
        num_heads: heads, which divide ``embedding_dim``.
        rotary: whether positions enter here, by rotation of queries and keys.
        dropout: of the attention weights.
    """

    def __init__(self, embedding_dim: int, num_heads: int, rotary: bool, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.rotary = rotary
        self.dropout = dropout
        self.query_key_value = nn.Linear(embedding_dim, 3 * embedding_dim)
        self.output = nn.Linear(embedding_dim, embedding_dim)
        # As nn.MultiheadAttention begins.
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
            is_causal=cache is None or query.shape[2] > 1,  # a single word after others sees all of them
        )
        return self.output(attended.transpose(1, 2).flatten(2))


class TransformerLayer(nn.Module):
    """Attention and a feed-forward network, each added to its input.

    Args:
        embedding_dim: features of a word.
        num_heads: attention heads.
        feedforward_dim: hidden features.
        norm: ``post`` normalizes the sums (Vaswani et al. 2017), ``pre`` the inputs of the sub-layers (Xiong et al.
            2020, https://arxiv.org/abs/2002.04745).
        activation: of the hidden features.
        rotary: whether attention has rotary positions.
        dropout: rates; ``depth`` as it is for this layer.
    """

    def __init__(
        self,
        embedding_dim: int,
        num_heads: int,
        feedforward_dim: int,
        norm: Literal["pre", "post"],
        activation: Literal["relu", "gelu"],
        rotary: bool,
        dropout: Dropout,
    ) -> None:
        super().__init__()
        self.pre_norm = norm == "pre"
        self.attention = CausalSelfAttention(embedding_dim, num_heads, rotary, dropout.attention)
        self.feedforward = nn.Sequential(
            nn.Linear(embedding_dim, feedforward_dim),
            nn.ReLU() if activation == "relu" else nn.GELU(),
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
    """Predict each next word from the words before it.

    The defaults are the classic form: sinusoidal positions added to scaled embeddings, normalization after each sum
    (what ``nn.TransformerEncoder`` computes with a causal mask), an output layer of its own. The modern form is
    ``norm="pre"`` (and once more at the end), ``positions="rotary"``, ``tied=True``: the output layer's weights are
    the embedding's (Press and Wolf 2017, https://arxiv.org/abs/1608.05859).

    Args:
        vocab_size: words.
        embedding_dim: features of a word; a multiple of ``2 * num_heads``.
        num_heads: attention heads.
        num_layers: layers.
        feedforward_dim: hidden features of the layers' feed-forward networks.
        norm: ``pre`` or ``post``.
        positions: ``sinusoidal`` or ``rotary``.
        activation: of the feed-forward networks.
        tied: whether input and output share their weights.
        dropout: rates.
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_dim: int = 200,
        num_heads: int = 2,
        num_layers: int = 2,
        feedforward_dim: int = 200,
        norm: Literal["pre", "post"] = "post",
        positions: Literal["sinusoidal", "rotary"] = "sinusoidal",
        activation: Literal["relu", "gelu"] = "relu",
        tied: bool = False,
        dropout: Dropout | None = None,
    ) -> None:
        super().__init__()
        rates = dropout or Dropout()
        self.sinusoidal = positions == "sinusoidal"
        self.word_dropout = rates.words
        self.embedding = nn.Embedding(vocab_size, embedding_dim)
        self.embedding_dropout = nn.Dropout(rates.embedding)
        self.layers = nn.ModuleList(
            TransformerLayer(
                embedding_dim,
                num_heads,
                feedforward_dim,
                norm,
                activation,
                rotary=not self.sinusoidal,
                dropout=replace(rates, depth=rates.depth * (layer + 1) / num_layers),
            )
            for layer in range(num_layers)
        )
        self.norm = nn.LayerNorm(embedding_dim) if norm == "pre" else nn.Identity()
        self.output_dropout = nn.Dropout(rates.output)
        self.output = nn.Linear(embedding_dim, vocab_size, bias=not tied)
        if tied:
            self.output.weight = self.embedding.weight
        # As PyTorch's word-language-model example begins.
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        nn.init.uniform_(self.output.weight, -0.1, 0.1)
        if self.output.bias is not None:
            nn.init.zeros_(self.output.bias)

    def embed(self, words: Tensor) -> Tensor:
        """Words int64 (B, T) to features (B, T, D), with whole words dropped while training."""
        weight = self.embedding.weight
        embedded = F.embedding(words, weight)
        if self.training and self.word_dropout:
            kept = torch.empty(len(weight), 1, device=weight.device).bernoulli_(1 - self.word_dropout)
            embedded = embedded * F.embedding(words, kept / (1 - self.word_dropout))
        return embedded

    def forward(self, words: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """What the next words are predicted from.

        Args:
            words: int64 (B, T).
            cache: of the words before these; it is extended by them. Several words at once only into an empty one.

        Returns:
            Features (B, T, D), to be put through ``output`` for logits (B, T, vocab_size).
        """
        start = 0 if cache is None else cache.length
        positions = torch.arange(start, start + words.shape[1], device=words.device, dtype=torch.float32)
        x = self.embed(words)
        if self.sinusoidal:
            x = x * math.sqrt(x.shape[-1]) + sinusoids(positions, x.shape[-1])
        x = self.embedding_dropout(x)
        for number, layer in enumerate(self.layers):
            x = layer(x, positions, cache, number)
        if cache is not None:
            cache.length += words.shape[1]
        return self.output_dropout(self.norm(x))
