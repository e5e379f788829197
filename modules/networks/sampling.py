"""Writing on: choose the next word from the logits, again and again."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from modules.networks.transformer import CausalTransformer, KeyValueCache

Choose = Callable[[Tensor], Tensor]


def choose(logits: Tensor, temperature: float, top_k: int, top_p: float, generator: torch.Generator | None) -> Tensor:
    """Draw the next word.

    Args:
        logits: float (V,).
        temperature: what logits are divided by: below 1 the likely words become likelier, 0 takes the likeliest.
        top_k: draw from the k likeliest words only; 0 from all.
        top_p: draw from the fewest likeliest words that have this much probability together, in (0, 1] (Holtzman et
            al. 2020, https://arxiv.org/abs/1904.09751).
        generator: source of randomness, on the processor; torch's own if None.

    Returns:
        The word's number, int64 ().
    """
    if temperature == 0:
        return logits.argmax()
    below = (logits - logits.max()).double().cpu()  # no temperature, however low, makes these overflow
    probabilities, words = (below / temperature).softmax(0).sort(descending=True, stable=True)
    if top_k:
        probabilities = probabilities[:top_k]
        probabilities = probabilities / probabilities.sum()
    enough = probabilities.cumsum(0) - probabilities < top_p  # what came before is not enough yet
    probabilities = probabilities * enough
    return words[torch.multinomial(probabilities, 1, generator=generator)[0]]


def context_start(length: int, context: int) -> int:
    """From which word on a network reads when ``length`` words are written and it shall see ``context`` at most.

    It is moved on by half a context at a time, so that cached keys and values hold for many words.
    """
    if length <= context:
        return 0
    step = max(1, context // 2)
    return -(-(length - context) // step) * step


def write(
    network: CausalTransformer, prompt: Tensor, context: int, choose_next: Choose, cached: bool = True
) -> Iterator[int]:
    """Write on without end.

    Args:
        network: in evaluation mode.
        prompt: int64 (n,), at least one word.
        context: the most words that the network sees at a time.
        choose_next: from logits (V,) to a word's number.
        cached: whether keys and values are kept; without that each word costs as much as all before it, and the words
            are the same.

    Yields:
        The numbers of the words after the prompt.
    """
    words = prompt
    cache, start = None, -1
    while True:
        begin = context_start(len(words), context)
        if not cached:
            features = network(words[None, begin:])
        elif begin == start:
            features = network(words[None, -1:], cache)
        else:
            cache, start = KeyValueCache(len(network.layers), context), begin
            features = network(words[None, begin:], cache)
        word = choose_next(network.output(features[0, -1]))
        words = torch.cat([words, word.to(words.device)[None]])
        yield int(word)
