"""A synthetic text in WikiText-2's layout, from a source whose entropy is known.

The source is a second-order Markov chain over classes of words: the class of a word depends on the classes of the two
words before it, and the word on its class alone. ``<eos>`` is a class of its own. What it takes to predict the text is
to find the classes and the chain; no model can do better than the source's entropy, computed in :func:`entropy`.
"""

import itertools
import math
from functools import cache
from pathlib import Path

import numpy as np

from datamodules.synthetic.writing import write_set

FOLDER = "synthetic-wikitext-2"
CLASSES = 12  # the first one is <eos> alone
WORDS_PER_CLASS = 24
SEED = 1  # of the source itself, which is the same for every text
START = (0, 0)  # as if two lines had ended


@cache
def transitions() -> np.ndarray:
    """The probability of a class after two others, float (CLASSES, CLASSES, CLASSES); rows sum to 1."""
    drawn = np.random.default_rng(SEED).dirichlet(np.full(CLASSES, 0.15), (CLASSES, CLASSES))
    return 0.98 * drawn + 0.02 / CLASSES  # any class can follow, so that no state is a trap


@cache
def word_probabilities() -> np.ndarray:
    """The probability of each word of a class, float (WORDS_PER_CLASS,): Zipf's law, as in real text."""
    weights = 1 / np.arange(1, WORDS_PER_CLASS + 1)
    return weights / weights.sum()


@cache
def words() -> list[list[str]]:
    """The words of each class but the first."""
    syllables = [a + b for a, b in itertools.product("bdfgklmnprstvz", "aeiou")]
    drawn = np.random.default_rng(SEED).permutation([a + b for a, b in itertools.product(syllables, syllables)])
    return drawn[: (CLASSES - 1) * WORDS_PER_CLASS].reshape(CLASSES - 1, WORDS_PER_CLASS).tolist()


@cache
def entropy() -> float:
    """The source's entropy in nats per token, ``<eos>`` among them.

    That is the entropy of the next class, weighted by how often each pair of classes comes up in the long run, and
    that of the words within the classes.
    """
    chain = transitions()
    pairs = np.full((CLASSES, CLASSES), 1 / CLASSES**2)
    for _ in range(1000):  # converges geometrically
        pairs = np.einsum("ab,abc->bc", pairs, chain)
    of_class = -(chain * np.log(chain)).sum(-1)
    of_word = -(word_probabilities() * np.log(word_probabilities())).sum()
    return float((pairs * of_class).sum() + (1 - pairs[:, 0].sum()) * of_word)


def perplexity() -> float:
    """The lowest perplexity that a model can have on text of this source that is long enough."""
    return math.exp(entropy())


def text(tokens: int, seed: int) -> str:
    """Draw a text of so many tokens, ``<eos>`` counted at the end of each line; the last line is ended early."""
    generator = np.random.default_rng(seed)
    cumulative = transitions().cumsum(-1)
    steps = generator.random(tokens)
    chosen = generator.choice(WORDS_PER_CLASS, tokens, p=word_probabilities())
    before, last = START
    drawn: list[str] = []
    for step, word in zip(steps[:-1], chosen[:-1], strict=True):
        before, last = last, min(int(np.searchsorted(cumulative[before, last], step)), CLASSES - 1)
        drawn.append(words()[last - 1][word] if last else "\n")
    return " ".join(["", *drawn, "\n"])


def make(destination: Path, train: int = 200_000, val: int = 20_000, test: int = 20_000) -> None:
    """Write the synthetic text unless it is there.

    Args:
        destination: the folder to make.
        train: tokens of the training text.
        val: tokens of the validation text.
        test: tokens of the test text.
    """

    def fill(folder: Path) -> Path:
        for seed, (name, tokens) in enumerate({"train": train, "valid": val, "test": test}.items()):
            (folder / f"{name}.txt").write_text(text(tokens, seed), encoding="ascii")
        return folder

    write_set(destination, fill)
