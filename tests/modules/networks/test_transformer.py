"""The Transformer in its classic and its modern form."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from modules.networks.transformer import CausalTransformer, Dropout, KeyValueCache, TransformerArchitecture

SIZES: dict[str, Any] = {"embedding_dim": 16, "num_heads": 2, "num_layers": 3, "feedforward_dim": 24}
FORMS: dict[str, dict[str, Any]] = {
    "classic": {},
    "modern": {"norm": "pre", "positions": "rotary", "activation": "gelu", "tied": True},
}


def network(form: str, dropout: Dropout | None = None) -> CausalTransformer:
    torch.manual_seed(0)
    return CausalTransformer(50, TransformerArchitecture(**SIZES, **FORMS[form]), dropout)


def tokens(batch: int = 2, length: int = 9) -> Tensor:
    return torch.randint(50, (batch, length), generator=torch.Generator().manual_seed(1))


def test_classic_form_computes_what_the_layers_of_torch_compute() -> None:
    ours = network("classic").eval()
    layer = nn.TransformerEncoderLayer(16, 2, 24, dropout=0.0, batch_first=True)
    reference = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False).eval()
    layers: Any = ours.layers
    for mine, theirs in zip(layers, reference.layers, strict=True):
        theirs.load_state_dict(
            {
                "self_attn.in_proj_weight": mine.attention.query_key_value.weight,
                "self_attn.in_proj_bias": mine.attention.query_key_value.bias,
                "self_attn.out_proj.weight": mine.attention.output.weight,
                "self_attn.out_proj.bias": mine.attention.output.bias,
                "linear1.weight": mine.feedforward[0].weight,
                "linear1.bias": mine.feedforward[0].bias,
                "linear2.weight": mine.feedforward[3].weight,
                "linear2.bias": mine.feedforward[3].bias,
                "norm1.weight": mine.attention_norm.weight,
                "norm1.bias": mine.attention_norm.bias,
                "norm2.weight": mine.feedforward_norm.weight,
                "norm2.bias": mine.feedforward_norm.bias,
            }
        )
    # Positions as in the example: sin and cos by turns, angles position / 10000^(2i / size).
    positions = torch.zeros(9, 16)
    for position in range(9):
        for i in range(8):
            angle = position / 10000 ** (2 * i / 16)
            positions[position, 2 * i], positions[position, 2 * i + 1] = math.sin(angle), math.cos(angle)
    embedded = ours.embedding(tokens()) * math.sqrt(16) + positions
    mask = nn.Transformer.generate_square_subsequent_mask(9)
    expected = reference(embedded, mask=mask, is_causal=True)
    torch.testing.assert_close(ours(tokens()), expected)


@pytest.mark.parametrize("form", FORMS)
def test_no_token_is_predicted_from_itself_or_from_later_ones(form: str) -> None:
    model = network(form).eval()
    changed = tokens()
    changed[:, 5:] = (changed[:, 5:] + 1) % 50
    before, after = model(tokens()), model(changed)
    torch.testing.assert_close(before[:, :5], after[:, :5])
    assert not torch.isclose(before[:, 5], after[:, 5]).all()


@pytest.mark.parametrize("form", FORMS)
@given(cut=st.integers(1, 8))
def test_tokens_read_one_by_one_into_a_cache_give_the_same_features(form: str, cut: int) -> None:
    model = network(form).eval()
    cache = KeyValueCache(3, 9)
    parts = [model(tokens()[:, :cut], cache), *(model(tokens()[:, i : i + 1], cache) for i in range(cut, 9))]
    assert cache.length == 9
    torch.testing.assert_close(torch.cat(parts, 1), model(tokens()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_lone_token_gives_what_it_gives_at_the_beginning_of_a_text(form: str) -> None:
    model = network(form).eval()
    lone = model(tokens()[:, :1])
    torch.testing.assert_close(lone, model(tokens())[:, :1])
    torch.testing.assert_close(model(tokens()[:, :1], KeyValueCache(3, 9)), lone)


@pytest.mark.parametrize("form", FORMS)
def test_order_of_the_tokens_matters(form: str) -> None:
    model = network(form).eval()
    turned = tokens().clone()
    turned[:, :8] = turned[:, :8].flip(1)
    assert not torch.allclose(model(tokens())[:, 8], model(turned)[:, 8], atol=1e-3)


def test_tied_output_is_the_embedding() -> None:
    model = network("modern")
    assert model.output.weight is model.embedding.weight
    assert model.output.bias is None
    assert sum(p.numel() for p in model.parameters()) < sum(p.numel() for p in network("classic").parameters())


def test_dropped_tokens_are_the_same_in_a_whole_batch_and_the_others_are_scaled() -> None:
    model = network("classic", Dropout(words=0.5)).train()
    read = torch.arange(50).repeat(2, 2)
    embedded, plain = model.embed(read), model.embedding(read)
    gone = (embedded == 0).all(-1)
    assert 5 < gone[0, :50].sum() < 45
    assert torch.equal(gone[0, :50], gone[0, 50:])
    assert torch.equal(gone[0], gone[1])
    torch.testing.assert_close(embedded[~gone], 2 * plain[~gone])


@pytest.mark.parametrize("rate", ["words", "embedding", "attention", "feedforward", "residual", "depth", "output"])
@pytest.mark.parametrize("form", FORMS)
def test_each_dropout_acts_while_training_and_only_then(form: str, rate: str) -> None:
    model = network(form, Dropout(**{rate: 0.5}))
    torch.manual_seed(0)
    assert torch.equal(model.eval()(tokens()), network(form).eval()(tokens()))
    assert not torch.allclose(model.train()(tokens(8)), model(tokens(8)))


def test_stochastic_depth_leaves_out_sub_layers_of_whole_sequences_and_more_of_later_layers() -> None:
    model = network("modern", Dropout(depth=0.6))
    layers: Any = model.layers
    assert [round(layer.residual[1].p, 3) for layer in layers] == [0.2, 0.4, 0.6]
    layer = layers[2].train()
    x = torch.randn(400, 3, 16)
    added = layer(x, torch.arange(3.0), None, 0) - x
    untouched = (added == 0).flatten(1).all(1)
    assert 0.25 < untouched.float().mean() < 0.47  # both sub-layers: 0.6 squared


def test_without_dropout_training_and_evaluation_agree() -> None:
    model = network("modern")
    torch.testing.assert_close(model.train()(tokens()), model.eval()(tokens()))
