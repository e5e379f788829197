"""A Conformer encoder whose result for an utterance does not depend on the padding behind it."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modules.networks.positions import rotate
from sextant.errors import InputError

SUBSAMPLING = 4  # frames of the input to one of the output


@dataclass
class ConformerArchitecture:
    """Sizes of a Conformer. The defaults are the small one of Gulati et al. 2020, table 1.

    Args:
        dim: features of an encoded frame; a multiple of ``2 * num_heads``.
        num_heads: attention heads.
        num_layers: layers.
        feedforward_dim: hidden features of the layers' feed-forward networks.
        kernel_size: of the layers' convolutions over time, in encoded frames of four; odd.
        dropout: fraction that is dropped in each part while training, in [0, 1).

    Raises:
        InputError: a value is out of its range.
    """

    dim: int = 144
    num_heads: int = 4
    num_layers: int = 16
    feedforward_dim: int = 576
    kernel_size: int = 31
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for key in ("dim", "num_heads", "num_layers", "feedforward_dim"):
            if getattr(self, key) < 1:
                raise InputError(f"model.architecture.{key} is {getattr(self, key)}; it must be 1 or more.")
        if self.dim % (2 * self.num_heads):
            raise InputError(
                f"model.architecture.dim is {self.dim}; it must be a multiple of twice model.architecture.num_heads "
                f"({self.num_heads})."
            )
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise InputError(f"model.architecture.kernel_size is {self.kernel_size}; it must be odd, 1 or more.")
        if not 0 <= self.dropout < 1:
            raise InputError(f"model.architecture.dropout is {self.dropout}; it must be 0 or more and below 1.")


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
        """Lengths in frames of the input, int64 (B,), to lengths in frames of the output."""
        return (lengths + SUBSAMPLING - 1) // SUBSAMPLING

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Features (B, T, num_features) to (B, ceil(T / 4), dim)."""
        # Padding must be zero before each convolution, as what is beyond the edge of an utterance without padding is.
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
        dropout: fraction of the attention weights that is dropped while training.
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
        dropout: fraction of the hidden features that is dropped while training.
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
        architecture: sizes.
    """

    def __init__(self, architecture: ConformerArchitecture) -> None:
        super().__init__()
        dim, dropout = architecture.dim, architecture.dropout
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(5))
        self.first = FeedForward(dim, architecture.feedforward_dim, dropout)
        self.attention = Attention(dim, architecture.num_heads, dropout)
        self.convolution = Convolution(dim, architecture.kernel_size)
        self.second = FeedForward(dim, architecture.feedforward_dim, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, dim) to (B, T, dim); mask bool (B, T)."""
        x = x + 0.5 * self.dropout(self.first(self.norms[0](x)))
        x = x + self.dropout(self.attention(self.norms[1](x), mask))
        x = x + self.dropout(self.convolution(self.norms[2](x), mask))
        x = x + 0.5 * self.dropout(self.second(self.norms[3](x)))
        return self.norms[4](x)


class Conformer(nn.Module):
    """A Conformer that encodes speech, four frames to one.

    In contrast to torchaudio's, no padding enters its convolutions and normalization, so that the result for an
    utterance is the same in every batch; and attention has positions.

    Args:
        num_features: of a frame of the input.
        architecture: sizes.
    """

    def __init__(self, num_features: int, architecture: ConformerArchitecture) -> None:
        super().__init__()
        self.subsampling = Subsampling(num_features, architecture.dim, architecture.dim)
        self.dropout = nn.Dropout(architecture.dropout)
        self.layers = nn.ModuleList(ConformerLayer(architecture) for _ in range(architecture.num_layers))

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode utterances that are padded on the right.

        Args:
            features: (B, T, num_features).
            lengths: in frames, int64 (B,), 1 or more.

        Returns:
            Encoded frames (B, ceil(T / 4), dim), and their lengths, int64 (B,).
        """
        x = self.dropout(self.subsampling(features, lengths))
        lengths = self.subsampling.lengths(lengths)
        mask = mask_of(lengths, x.shape[1])
        for layer in self.layers:
            x = layer(x, mask)
        return x, lengths


class LogProbabilities(nn.Module):
    """A Conformer with its output layer: the log-probabilities of the labels in each encoded frame.

    Args:
        encoder: encodes the frames.
        output: encoded frames (B, T, dim) to logits of the labels (B, T, labels).
    """

    def __init__(self, encoder: Conformer, output: nn.Linear) -> None:
        super().__init__()
        self.encoder = encoder
        self.output = output

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """As the encoder, with float32 log-probabilities (B, ceil(T / 4), labels) for the encoded frames."""
        encoded, frames = self.encoder(features, lengths)
        return self.output(encoded).float().log_softmax(-1), frames
