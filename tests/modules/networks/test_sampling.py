"""How next tokens are chosen, and that cached generation gives the same text."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from modules.networks.sampling import Choose, choose, context_start, generate
from tests.modules.networks.test_transformer import FORMS, network

LOGITS = torch.tensor([0.1, 3.0, -1.0, 2.0, 1.0])  # the tokens by likelihood: 1, 3, 4, 0, 2


def drawn(count: int = 300, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return [int(choose(LOGITS, temperature, top_k, top_p, generator)) for _ in range(count)]


def test_temperature_zero_takes_the_likeliest() -> None:
    assert set(drawn(temperature=0.0)) == {1}


def test_very_low_temperature_is_nearly_zero_and_no_fault() -> None:
    assert set(drawn(temperature=1e-300)) == {1}


def test_tokens_come_as_often_as_they_are_likely() -> None:
    tokens = drawn(8000)
    for token, probability in enumerate(LOGITS.softmax(0).tolist()):
        assert tokens.count(token) / 8000 == pytest.approx(probability, abs=0.02)


def test_low_temperature_prefers_the_likely_and_high_temperature_evens_out() -> None:
    fractions = [drawn(2000, temperature=t).count(1) / 2000 for t in (0.5, 1.0, 5.0)]
    assert fractions[0] > fractions[1] + 0.1 > fractions[2] + 0.2


@pytest.mark.parametrize(("k", "tokens"), [(1, {1}), (2, {1, 3}), (3, {1, 3, 4}), (99, {0, 1, 2, 3, 4})])
def test_top_k_draws_from_the_k_likeliest(k: int, tokens: set[int]) -> None:
    assert set(drawn(1000, top_k=k)) == tokens


@given(
    logits=st.lists(st.floats(-4, 4), min_size=1, max_size=12),
    top_p=st.floats(0.01, 1),
    top_k=st.integers(0, 12),
    seed=st.integers(0, 2**31),
)
def test_top_p_draws_from_the_fewest_tokens_that_have_the_probability(
    logits: list[float], top_p: float, top_k: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.tensor(logits).double().softmax(0)
    order = probabilities.argsort(descending=True, stable=True).tolist()[: top_k or None]
    kept = probabilities[order] / probabilities[order].sum()
    enough = next((n for n in range(1, len(order) + 1) if kept[:n].sum() >= top_p - 1e-12), len(order))
    token = int(choose(torch.tensor(logits), 1.0, top_k, top_p, generator))
    assert token in order[:enough]


def test_tokens_that_have_exactly_the_probability_are_enough() -> None:
    generator = torch.Generator().manual_seed(0)
    assert {int(choose(torch.zeros(2), 1.0, 0, 0.5, generator)) for _ in range(50)} == {0}


def test_same_seed_draws_the_same_tokens() -> None:
    assert drawn(seed=1) == drawn(seed=1) != drawn(seed=2)


@given(context=st.integers(1, 50), length=st.integers(1, 300))
def test_context_is_never_longer_than_it_may_be_nor_empty_and_only_moves_on(context: int, length: int) -> None:
    start = context_start(length, context)
    assert 1 <= length - start <= context
    assert start <= context_start(length + 1, context)
    if length > context:
        assert length - start > context - max(1, context // 2)


def sample_choice(seed: int) -> Choose:
    generator = torch.Generator().manual_seed(seed)

    def choose_next(logits: Tensor) -> Tensor:
        return choose(logits, 1.0, 0, 1.0, generator)

    return choose_next


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("context", [1, 2, 7, 100])
def test_generation_with_and_without_a_cache_gives_the_same_tokens(form: str, context: int) -> None:
    model = network(form).eval()
    prompt = torch.tensor([3, 1, 4, 1, 5])
    texts = [
        list(itertools.islice(generate(model, prompt, context, sample_choice(0), use_cache=cached), 60))
        for cached in (True, False)
    ]
    assert texts[0] == texts[1]
    assert len(set(texts[0])) > 10


def test_generation_with_a_cache_reads_each_token_once_while_the_context_lasts() -> None:
    model = network("modern").eval()
    read: list[int] = []
    embed = model.embed
    model.embed = lambda tokens: read.append(tokens.shape[1]) or embed(tokens)  # type: ignore[method-assign, func-returns-value]
    with torch.no_grad():
        list(itertools.islice(generate(model, torch.tensor([1, 2, 3]), 64, sample_choice(0)), 40))
    assert read == [3] + [1] * 39
