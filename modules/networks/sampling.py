"""Generation of text: choose the next token from the logits, again and again."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from modules.networks.transformer import CausalTransformer, KeyValueCache

Choose = Callable[[Tensor], Tensor]


def choose(logits: Tensor, temperature: float, top_k: int, top_p: float, generator: torch.Generator | None) -> Tensor:
    """Draw the next token.

    Args:
        logits: float (V,).
        temperature: divides the logits: below 1 likely tokens become likelier; 0 takes the likeliest.
        top_k: draw from the k likeliest tokens only; 0 from all.
        top_p: draw from the fewest likeliest tokens whose probabilities sum to this, in (0, 1] (Holtzman et al. 2020,
            https://arxiv.org/abs/1904.09751).
        generator: source of randomness, on the CPU; torch's own if None.

    Returns:
        The token's id, int64 ().
    """
    if temperature == 0:
        return logits.argmax()
    below = (logits - logits.max()).double().cpu()  # no temperature, however low, makes these overflow
    probabilities, tokens = (below / temperature).softmax(0).sort(descending=True, stable=True)
    if top_k:
        probabilities = probabilities[:top_k]
        probabilities = probabilities / probabilities.sum()
    nucleus = probabilities.cumsum(0) - probabilities < top_p  # those before it do not sum to top_p yet
    probabilities = probabilities * nucleus
    return tokens[torch.multinomial(probabilities, 1, generator=generator)[0]]


def context_start(length: int, context: int) -> int:
    """The index of the first token that a network reads of ``length`` tokens, so that it reads ``context`` at most.

    It moves on by half a context at a time, so that cached keys and values hold for many tokens.
    """
    if length <= context:
        return 0
    step = max(1, context // 2)
    return -(-(length - context) // step) * step


def generate(
    network: CausalTransformer, prompt: Tensor, context: int, choose_next: Choose, use_cache: bool = True
) -> Iterator[int]:
    """Continue a prompt without end.

    Args:
        network: in evaluation mode.
        prompt: token ids, int64 (n,), at least one.
        context: the most tokens that the network reads at a time.
        choose_next: from logits (V,) to a token's id.
        use_cache: whether keys and values are kept. Without that, a token costs as much as all before it, and the
            tokens are the same.

    Yields:
        The ids of the tokens after the prompt.
    """
    tokens = prompt
    cache, cached_start = None, -1
    while True:
        start = context_start(len(tokens), context)
        if not use_cache:
            features = network(tokens[None, start:])
        elif start == cached_start:
            features = network(tokens[None, -1:], cache)
        else:
            cache, cached_start = KeyValueCache(len(network.layers), context), start
            features = network(tokens[None, start:], cache)
        token = choose_next(network.output(features[0, -1]))
        tokens = torch.cat([tokens, token.to(tokens.device)[None]])
        yield int(token)
