"""The dense part of a DLRM, against loops."""

from typing import Any

import pytest
import torch
from torch import nn

from modules.networks.dlrm import (
    Concatenation,
    CrossInteraction,
    DenseNetwork,
    DLRMArchitecture,
    DotInteraction,
    PaddedDLRM,
    mlp,
)

SIZES: dict[str, Any] = {"embedding_dim": 4, "bottom_mlp": (5,), "top_mlp": (6,), "cross_layers": 2, "cross_rank": 3}


def test_dot_interaction_is_the_first_vector_and_the_products_of_all_pairs() -> None:
    vectors = torch.randn(3, 4, 5)
    found = DotInteraction(4, 5)(vectors)
    for sample, row in zip(vectors, found, strict=True):
        products = [sample[i] @ sample[j] for i in range(4) for j in range(i + 1, 4)]
        assert torch.allclose(row, torch.cat([sample[0], torch.stack(products)]), atol=1e-6)
    assert found.shape == (3, DotInteraction(4, 5).out_features)


def test_products_alone_are_left_without_dense_features() -> None:
    vectors = torch.randn(3, 4, 5)
    found = DotInteraction(4, 5, has_dense=False)
    assert torch.equal(found(vectors), DotInteraction(4, 5)(vectors)[:, 5:])
    assert found(vectors).shape == (3, found.out_features)


def test_concatenation_leaves_the_vectors_as_they_are() -> None:
    vectors = torch.randn(3, 4, 5)
    assert torch.equal(Concatenation(4, 5)(vectors), vectors.reshape(3, 20))
    assert Concatenation(4, 5).out_features == 20


def test_layers_are_normalized_before_the_activation_and_thinned_out_after_it() -> None:
    torch.manual_seed(0)
    layers, values = mlp(4, [6, 5], batch_norm=True, dropout=0.25), torch.randn(64, 4)
    first, norm, _, _, second, *_ = layers
    linear = first(values)
    expected = ((linear - linear.mean(0)) / (linear.var(0, unbiased=False) + norm.eps).sqrt()).relu()
    thinned = layers[:4](values)
    kept = thinned != 0
    assert torch.allclose(thinned[kept], expected[kept] / 0.75, atol=1e-5)
    assert 0.6 < float(kept.sum() / (expected > 0).sum()) < 0.9
    layers.eval()
    assert torch.equal(layers(values), layers[6](layers[5](second(layers[:4](values)))))
    plain = mlp(4, [6, 5], batch_norm=False)
    assert [type(layer) for layer in plain] == [nn.Linear, nn.ReLU] * 2


@pytest.mark.parametrize("interaction", ["dot", "cross", "concatenation"])
def test_network_without_dense_features_has_no_bottom(interaction: Any) -> None:
    network = DenseNetwork(0, 3, DLRMArchitecture(**SIZES, interaction=interaction))
    embeddings = torch.randn(8, 3, 4)
    expected = network.output(network.top(network.interaction(embeddings)))[:, 0]
    assert torch.equal(network(torch.zeros(8, 0), embeddings), expected)
    assert not [name for name, _ in network.named_parameters() if name.startswith("bottom")]


def test_dot_interaction_has_nothing_to_save() -> None:
    assert not DotInteraction(4, 5).state_dict()


def test_cross_layers_are_those_of_the_paper() -> None:
    """x_{l+1} = x_0 * (W (V x_l) + b) + x_l, with W V of low rank."""
    torch.manual_seed(0)
    interaction = CrossInteraction(3, 4, layers=2, rank=5)
    vectors = torch.randn(6, 3, 4)
    state = interaction.cross.state_dict()
    for name, value in state.items():
        if "bias" in name:
            value.normal_()
    first = x = vectors.flatten(1)
    for layer in range(2):
        w, v = state[f"W_kernels.{layer}"], state[f"V_kernels.{layer}"]
        assert {w.shape, v.shape} == {(12, 5), (5, 12)}
        x = first * (x @ v.T @ w.T + state[f"bias.{layer}"]) + x
    assert torch.allclose(interaction(vectors), x, atol=1e-5)
    assert interaction.out_features == 12


@pytest.mark.parametrize("interaction", ["dot", "cross", "concatenation"])
@pytest.mark.parametrize("top", [[6], []])
def test_logit_depends_on_every_feature_of_its_own_sample_only(interaction: Any, top: list[int]) -> None:
    torch.manual_seed(2)  # of which sample 1 is not rectified away
    network = DenseNetwork(3, 2, DLRMArchitecture(**{**SIZES, "top_mlp": top}, interaction=interaction))
    dense, embeddings = torch.randn(8, 3, requires_grad=True), torch.randn(8, 2, 4, requires_grad=True)
    logits = network(dense, embeddings)
    assert logits.shape == (8,)
    logits[1].backward()
    assert dense.grad is not None
    assert embeddings.grad is not None
    for gradient in (dense.grad, embeddings.grad):
        assert (gradient[[0, *range(2, 8)]] == 0).all()
    assert (embeddings.grad[1].abs().sum(-1) > 0).all()
    assert (dense.grad[1] != 0).any()


def test_dense_features_go_through_the_bottom_alone() -> None:
    network = DenseNetwork(3, 2, DLRMArchitecture(**SIZES))
    dense, embeddings = torch.randn(8, 3), torch.randn(8, 2, 4)
    assert network.bottom is not None
    vectors = torch.cat([network.bottom(dense)[:, None], embeddings], 1)
    expected = network.output(network.top(network.interaction(vectors)))[:, 0]
    assert torch.equal(network(dense, embeddings), expected)


@pytest.mark.parametrize("mean", [False, True])
def test_padded_categories_are_pooled_up_to_their_number(mean: bool) -> None:
    torch.manual_seed(0)
    tables = [torch.randn(7, 4), torch.randn(5, 4)]
    network = DenseNetwork(3, 2, DLRMArchitecture(**SIZES))
    dense = torch.randn(3, 3)
    categories = torch.tensor([[[6, 1, 6], [0, 4, 4]], [[2, 2, 2], [1, 3, 0]], [[5, 0, 1], [2, 2, 4]]])
    counts = torch.tensor([[3, 0], [2, 3], [0, 1]])
    pooled = torch.zeros(3, 2, 4)
    for sample in range(3):
        for feature, table in enumerate(tables):
            bag = categories[sample, feature, : counts[sample, feature]].tolist()
            for row in bag:
                pooled[sample, feature] += table[row] / (len(bag) if mean else 1)
    found = PaddedDLRM(tables, mean, network)(dense, categories, counts)
    assert torch.allclose(found, network(dense, pooled), atol=1e-6)
