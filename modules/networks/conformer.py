"""A Conformer encoder whose result for an utterance does not depend on the padding behind it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modules.networks.positions import rotate

SUBSAMPLING = 4  # frames of the input to one of the output


def mask_of(lengths: Tensor, size: int) -> Tensor:
    """True where there is data: lengths int64 (B,) to bool (B, size)."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


class Subsampling(nn.Module):
    """Two convolutions over time and frequency, each with stride 2; the second one by channel, then across them.

    Source: Rekesh et al. 2023 (https://arxiv.org/abs/2305.05084), section 3.1, with two strides instead of three.

    Args:
        num_features: of a frame of the input.
        channels: of the convolutions.
        dim: features of a frame of the output.
    """

    def __init__(self, num_features: int, channels: int, dim: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, channels, 3, stride=2, padding=1)
        self.by_channel = nn.Conv2d(channels, channels, 3, stride=2, padding=1, groups=channels)
        self.across = nn.Conv2d(channels, channels, 1)
        self.output = nn.Linear(channels * -(-num_features // SUBSAMPLING), dim)

    @staticmethod
    def lengths(lengths: Tensor) -> Tensor:
        """Frames that come out, int64 (B,), of so many that go in."""
        return (lengths + SUBSAMPLING - 1) // SUBSAMPLING

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Features (B, T, num_features) to (B, ceil(T / 4), dim)."""
        # What lies behind the end must be zero before each convolution: so is the edge of an utterance without padding.
        x = features.masked_fill(~mask_of(lengths, features.shape[1])[..., None], 0.0)[:, None]
        x = F.relu(self.first(x))
        x = x.masked_fill(~mask_of((lengths + 1) // 2, x.shape[2])[:, None, :, None], 0.0)
        x = F.relu(self.across(self.by_channel(x)))
        return self.output(x.transpose(1, 2).flatten(2))


class Attention(nn.Module):
    """Self-attention with rotary positions.

    Args:
        dim: features.
        num_heads: heads; ``dim`` is a multiple of twice their number.
        dropout: share of the attention weights that is dropped while training.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.input = nn.Linear(dim, 3 * dim)
        self.output = nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, dim) to (B, T, dim); mask bool (B, T)."""
        query, key, value = self.input(x).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        positions = torch.arange(x.shape[1], device=x.device, dtype=torch.float32)
        attended = F.scaled_dot_product_attention(
            rotate(query, positions),
            rotate(key, positions),
            value,
            attn_mask=mask[:, None, None],
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.output(attended.transpose(1, 2).flatten(2))


class Convolution(nn.Module):
    """The Conformer's convolution module, normalized over the features of a frame.

    The paper normalizes over the batch, which would let an utterance's result depend on what it is batched with.

    Args:
        dim: features.
        kernel_size: of the convolution over time, in frames; odd.
    """

    def __init__(self, dim: int, kernel_size: int) -> None:
        super().__init__()
        self.expand = nn.Linear(dim, 2 * dim)
        self.over_time = nn.Conv1d(dim, dim, kernel_size, padding=kernel_size // 2, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.output = nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, dim) to (B, T, dim); mask bool (B, T)."""
        x = F.glu(self.expand(x)).masked_fill(~mask[..., None], 0.0)
        x = self.over_time(x.transpose(1, 2)).transpose(1, 2)
        return self.output(F.silu(self.norm(x)))


class FeedForward(nn.Module):
    """Two linear layers.

    Args:
        dim: features.
        hidden: features between the layers.
        dropout: share of the hidden features that is dropped while training.
    """

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.expand = nn.Linear(dim, hidden)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, dim) to (B, T, dim)."""
        return self.output(self.dropout(F.silu(self.expand(x))))


class ConformerLayer(nn.Module):
    """Half a feed-forward network, attention, convolution, another half; each normalizes its input.

    Source: Gulati et al. 2020 (https://arxiv.org/abs/2005.08100), figure 1, with rotary positions.

    Args:
        dim: features.
        num_heads: attention heads.
        feedforward_dim: hidden features of the feed-forward networks.
        kernel_size: of the convolution, in frames; odd.
        dropout: share that is dropped in each part while training.
    """

    def __init__(self, dim: int, num_heads: int, feedforward_dim: int, kernel_size: int, dropout: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(5))
        self.first = FeedForward(dim, feedforward_dim, dropout)
        self.attention = Attention(dim, num_heads, dropout)
        self.convolution = Convolution(dim, kernel_size)
        self.second = FeedForward(dim, feedforward_dim, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, dim) to (B, T, dim); mask bool (B, T)."""
        x = x + 0.5 * self.dropout(self.first(self.norms[0](x)))
        x = x + self.dropout(self.attention(self.norms[1](x), mask))
        x = x + self.dropout(self.convolution(self.norms[2](x), mask))
        x = x + 0.5 * self.dropout(self.second(self.norms[3](x)))
        return self.norms[4](x)


class Conformer(nn.Module):
    """Features of speech to encoded frames, one for four.

    Not torchaudio's Conformer: that one lets padding into its convolutions and its batch statistics, so an utterance
    has another result in another batch, and it knows no positions.

    Args:
        num_features: of a frame of the input.
        dim: features of an encoded frame.
        num_heads: attention heads; ``dim`` is a multiple of twice their number.
        num_layers: layers.
        feedforward_dim: hidden features of the feed-forward networks.
        kernel_size: of the convolutions over time, in encoded frames; odd.
        dropout: share that is dropped while training.
    """

    def __init__(
        self,
        num_features: int,
        dim: int,
        num_heads: int,
        num_layers: int,
        feedforward_dim: int,
        kernel_size: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.subsampling = Subsampling(num_features, dim, dim)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            ConformerLayer(dim, num_heads, feedforward_dim, kernel_size, dropout) for _ in range(num_layers)
        )

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode utterances that are padded on the right.

        Args:
            features: (B, T, num_features).
            lengths: their frames, int64 (B,), 1 or more.

        Returns:
            Encoded frames (B, ceil(T / 4), dim), and how many of them each utterance has, int64 (B,).
        """
        x = self.dropout(self.subsampling(features, lengths))
        lengths = self.subsampling.lengths(lengths)
        mask = mask_of(lengths, x.shape[1])
        for layer in self.layers:
            x = layer(x, mask)
        return x, lengths


class LogProbabilities(nn.Module):
    """What a Conformer says of each encoded frame.

    Args:
        encoder: encodes the frames.
        output: encoded frames (B, T, dim) to scores of the labels (B, T, labels).
    """

    def __init__(self, encoder: Conformer, output: nn.Linear) -> None:
        super().__init__()
        self.encoder = encoder
        self.output = output

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """As of the encoder, with float32 log-probabilities (B, ceil(T / 4), labels) for the encoded frames."""
        encoded, frames = self.encoder(features, lengths)
        return self.output(encoded).float().log_softmax(-1), frames
