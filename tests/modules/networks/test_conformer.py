"""The Conformer: an utterance's result is its own."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.networks.conformer import (
    Conformer,
    ConformerArchitecture,
    ConformerLayer,
    LogProbabilities,
    Subsampling,
)

TINY: dict[str, Any] = {"dim": 16, "num_heads": 2, "num_layers": 2, "feedforward_dim": 24, "kernel_size": 5}


@pytest.fixture(scope="module")
def network() -> Conformer:
    torch.manual_seed(0)
    return Conformer(8, ConformerArchitecture(**TINY, dropout=0.1)).eval()


@given(st.lists(st.integers(1, 40), min_size=2, max_size=5), st.integers(0, 9))
@settings(max_examples=30)
def test_utterance_has_the_same_result_alone_and_in_a_padded_batch(
    network: Conformer, lengths: list[int], extra: int
) -> None:
    features = torch.randn(len(lengths), max(lengths) + extra, 8)  # the padding is noise: it must not matter
    with torch.no_grad():
        encoded, frames = network(features, torch.tensor(lengths))
        for one, length, result, count in zip(features, lengths, encoded, frames.tolist(), strict=True):
            alone, alone_frames = network(one[None, :length], torch.tensor([length]))
            assert alone_frames.item() == count == math.ceil(length / 4) == alone.shape[1]
            assert torch.allclose(result[:count], alone[0], atol=1e-5)


def test_every_frame_of_the_input_counts(network: Conformer) -> None:
    """The gradient of an encoded frame reaches all frames of its utterance, and none of the padding or of another."""
    features = torch.randn(2, 24, 8, requires_grad=True)
    encoded, _ = network(features, torch.tensor([18, 24]))
    encoded[0, 2, 0].backward()
    assert features.grad is not None
    reached = features.grad.abs().sum(2) > 0
    assert reached[0, :18].all()
    assert not reached[0, 18:].any()
    assert not reached[1].any()


def test_order_of_the_frames_matters(network: Conformer) -> None:
    features = torch.randn(1, 40, 8)
    length = torch.tensor([40])
    with torch.no_grad():
        forwards, backwards = network(features, length)[0], network(features.flip(1), length)[0]
    assert not torch.allclose(forwards, backwards.flip(1), atol=1e-2)


def test_dropout_works_in_training_only(network: Conformer) -> None:
    features, length = torch.randn(1, 20, 8), torch.tensor([20])
    assert torch.equal(network(features, length)[0], network(features, length)[0])
    network.train()
    try:
        assert not torch.equal(network(features, length)[0], network(features, length)[0])
    finally:
        network.eval()


def test_subsampling_is_two_strided_convolutions() -> None:
    """Without padding, it is what torch computes for the plain stack of layers."""
    layer = Subsampling(10, 6, 12)
    features = torch.randn(3, 17, 10)
    x = F.relu(layer.first(features[:, None]))
    x = F.relu(layer.across(layer.by_channel(x)))
    expected = layer.output(x.permute(0, 2, 1, 3).reshape(3, 5, -1))
    assert torch.allclose(layer(features, torch.tensor([17, 17, 17])), expected, atol=1e-6)


def test_layer_is_that_of_the_paper_with_two_halves_of_feed_forward_networks() -> None:
    """Gulati et al. 2020, equation 1: what stands before attention and behind convolution counts half."""
    torch.manual_seed(0)
    layer = ConformerLayer(ConformerArchitecture(**TINY)).eval()
    for weight in layer.norms.parameters():  # of new layers all normalize alike
        torch.nn.init.uniform_(weight, 0.5, 2.0)
    x, mask = torch.randn(3, 9, 16), torch.ones(3, 9, dtype=torch.bool)
    with torch.no_grad():
        found = layer(x, mask)
        x = x + layer.first(layer.norms[0](x)) / 2
        x = x + layer.attention(layer.norms[1](x), mask)
        x = x + layer.convolution(layer.norms[2](x), mask)
        x = x + layer.second(layer.norms[3](x)) / 2
        assert torch.allclose(found, layer.norms[4](x), atol=1e-6)


def test_each_part_of_the_network_is_trained(network: Conformer) -> None:
    copy = Conformer(8, ConformerArchitecture(**TINY, dropout=0.0))
    encoded, _ = copy(torch.randn(2, 30, 8), torch.tensor([30, 21]))
    (encoded * torch.randn_like(encoded)).sum().backward()
    assert [name for name, p in copy.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_log_probabilities_are_those_of_the_encoded_frames(network: Conformer) -> None:
    torch.manual_seed(0)
    output = torch.nn.Linear(16, 6)
    features, lengths = torch.randn(3, 30, 8), torch.tensor([30, 7, 21])
    with torch.no_grad():
        encoded, frames = network(features, lengths)
        found, found_frames = LogProbabilities(network, output)(features, lengths)
    expected = (encoded @ output.weight.T + output.bias).softmax(2)
    assert torch.equal(found_frames, frames)
    assert torch.allclose(found.exp(), expected, atol=1e-5)
