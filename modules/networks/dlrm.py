"""The dense part of a DLRM: MLPs and the interaction of the dense features with the embeddings of the sparse ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torchrec.modules.crossnet import LowRankCrossNet
from typing_extensions import override

from sextant.errors import InputError


@dataclass
class DLRMArchitecture:
    """Sizes and form of a DLRM.

    Args:
        embedding_dim: features of an embedding.
        bottom_mlp: hidden layers of the MLP over the dense features, if there are any; one of ``embedding_dim``
            features follows them.
        top_mlp: hidden layers of the MLP over the interaction; one of a single feature follows them.
        batch_norm: normalize the outputs of each layer of the MLPs over the batch, before the activation. Over the
            batches of several processes together with ``trainer.sync_batchnorm``.
        dropout: probability with which an output of a layer of the top MLP is zeroed in training, in [0, 1).
        interaction: how features are combined: ``dot`` products of all pairs, ``cross`` layers of low rank (DCN V2), or
            ``concatenation``, which leaves the combining to the top MLP.
        cross_layers: how many, for ``cross``.
        cross_rank: of their matrices, for ``cross``.
        pooling: how the embeddings of several values of a feature become one.

    Raises:
        InputError: a size is out of its range.
    """

    embedding_dim: int = 16
    bottom_mlp: tuple[int, ...] = (512, 256)
    top_mlp: tuple[int, ...] = (512, 256)
    batch_norm: bool = False
    dropout: float = 0.0
    interaction: Literal["dot", "cross", "concatenation"] = "dot"
    cross_layers: int = 3
    cross_rank: int = 512
    pooling: Literal["sum", "mean"] = "sum"

    def __post_init__(self) -> None:
        for key, least in (
            ("embedding_dim", self.embedding_dim),
            ("bottom_mlp", min(self.bottom_mlp, default=1)),
            ("top_mlp", min(self.top_mlp, default=1)),
            ("cross_layers", self.cross_layers),
            ("cross_rank", self.cross_rank),
        ):
            if least < 1:
                raise InputError(f"model.architecture.{key} is {getattr(self, key)}; it must be 1 or more.")
        if not 0 <= self.dropout < 1:
            raise InputError(f"model.architecture.dropout is {self.dropout}; it must be 0 or more and below 1.")


def mlp(in_features: int, sizes: Sequence[int], batch_norm: bool, dropout: float = 0.0) -> nn.Sequential:
    """An MLP whose layers are linear, normalized if that is asked for, rectified, and thinned out in training.

    Args:
        in_features: features of its input.
        sizes: features of each layer's output.
        batch_norm: whether layers are normalized over the batch.
        dropout: probability with which an output is zeroed in training.
    """
    layers: list[nn.Module] = []
    for before, after in pairwise([in_features, *sizes]):
        layers.append(nn.Linear(before, after))
        if batch_norm:
            layers.append(nn.BatchNorm1d(after))
        layers.append(nn.ReLU())
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)


class DotInteraction(nn.Module):
    """The dot products of all pairs of vectors, after the vector of the dense features itself.

    Source: Naumov et al. 2019 (https://arxiv.org/abs/1906.00091), section 2.1.3.

    Args:
        vectors: how many vectors a sample has.
        dim: their features.
        has_dense: whether the first vector is that of the dense features; without it there are only products.
    """

    pairs: Tensor

    def __init__(self, vectors: int, dim: int, has_dense: bool = True) -> None:
        super().__init__()
        self.has_dense = has_dense
        self.out_features = dim * has_dense + vectors * (vectors - 1) // 2
        self.register_buffer("pairs", torch.triu_indices(vectors, vectors, offset=1), persistent=False)

    @override
    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors (B, V, D) to (B, D + V (V - 1) / 2), or without D."""
        products = (vectors @ vectors.transpose(1, 2))[:, self.pairs[0], self.pairs[1]]
        return torch.cat([vectors[:, 0], products], 1) if self.has_dense else products


class CrossInteraction(nn.Module):
    """Cross layers of low rank over all vectors side by side: DCN V2.

    Source: Wang et al. 2021 (https://arxiv.org/abs/2008.13535), as in MLPerf's DLRM-DCNv2.

    Args:
        vectors: how many vectors a sample has.
        dim: their features.
        layers: cross layers.
        rank: of their matrices.
    """

    def __init__(self, vectors: int, dim: int, layers: int, rank: int) -> None:
        super().__init__()
        self.out_features = vectors * dim
        self.cross = LowRankCrossNet(vectors * dim, layers, rank)

    @override
    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors (B, V, D) to (B, V D)."""
        return self.cross(vectors.flatten(1))


class Concatenation(nn.Module):
    """All vectors side by side.

    Args:
        vectors: how many vectors a sample has.
        dim: their features.
    """

    def __init__(self, vectors: int, dim: int) -> None:
        super().__init__()
        self.out_features = vectors * dim

    @override
    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors (B, V, D) to (B, V D)."""
        return vectors.flatten(1)


def make_interaction(
    architecture: DLRMArchitecture, vectors: int, has_dense: bool
) -> DotInteraction | CrossInteraction | Concatenation:
    """How features are combined.

    Args:
        architecture: of the network.
        vectors: how many vectors a sample has.
        has_dense: whether the first one is that of the dense features.
    """
    dim = architecture.embedding_dim
    if architecture.interaction == "dot":
        return DotInteraction(vectors, dim, has_dense)
    if architecture.interaction == "cross":
        return CrossInteraction(vectors, dim, architecture.cross_layers, architecture.cross_rank)
    return Concatenation(vectors, dim)


class DenseNetwork(nn.Module):
    """Bottom MLP, interaction and top MLP (Naumov et al. 2019, https://arxiv.org/abs/1906.00091).

    Args:
        num_dense: dense features; without any there is no bottom MLP.
        num_sparse: sparse features.
        architecture: sizes and form.
    """

    def __init__(self, num_dense: int, num_sparse: int, architecture: DLRMArchitecture) -> None:
        super().__init__()
        self.num_dense = num_dense
        self.num_sparse = num_sparse
        has_dense, vectors, top = num_dense > 0, num_sparse + (num_dense > 0), architecture.top_mlp
        bottom = [*architecture.bottom_mlp, architecture.embedding_dim]
        self.bottom = mlp(num_dense, bottom, architecture.batch_norm) if has_dense else None
        self.interaction = make_interaction(architecture, vectors, has_dense)
        width = self.interaction.out_features
        self.top = mlp(width, top, architecture.batch_norm, architecture.dropout)
        self.output = nn.Linear(top[-1] if top else width, 1)

    @override
    def forward(self, dense: Tensor, embeddings: Tensor) -> Tensor:
        """Dense features (B, N) and embeddings (B, F, D) to the logit of a click (B,)."""
        if self.bottom is not None:
            embeddings = torch.cat([self.bottom(dense).unsqueeze(1), embeddings], 1)
        return self.output(self.top(self.interaction(embeddings))).squeeze(1)


class PaddedDLRM(nn.Module):
    """A whole DLRM whose inputs are plain tensors: each feature is padded to the same number of values.

    Args:
        tables: the embeddings of each sparse feature, float (rows, dim).
        mean: whether several embeddings of a feature are averaged; they are summed otherwise.
        network: the dense part.
    """

    def __init__(self, tables: Sequence[Tensor], mean: bool, network: DenseNetwork) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding.from_pretrained(table) for table in tables)
        self.mean = mean
        self.network = network

    @override
    def forward(self, dense: Tensor, categories: Tensor, counts: Tensor) -> Tensor:
        """Predict clicks.

        Args:
            dense: float (B, N).
            categories: rows of the tables, int64 (B, F, L), padded on the right with any rows.
            counts: how many each feature has, int64 (B, F), from 0 to L.

        Returns:
            Logits (B,).
        """
        counted = torch.arange(categories.shape[2], device=counts.device) < counts[:, :, None]
        pooled = []
        for feature, table in enumerate(self.tables):
            pooled.append((table(categories[:, feature]) * counted[:, feature, :, None]).sum(1))
        embeddings = torch.stack(pooled, 1)
        if self.mean:
            embeddings = embeddings / counts.clamp(min=1)[:, :, None]
        return self.network(dense, embeddings)


class WithoutDense(nn.Module):
    """A DLRM without dense features, whose inputs are the categories alone.

    Args:
        network: the whole of it.
    """

    def __init__(self, network: PaddedDLRM) -> None:
        super().__init__()
        self.network = network

    @override
    def forward(self, categories: Tensor, counts: Tensor) -> Tensor:
        """Categories and their numbers as in :class:`PaddedDLRM` to logits (B,)."""
        return self.network(torch.zeros(categories.shape[0], 0, device=counts.device), categories, counts)
