"""The sample text and what is known of it."""

import math
from pathlib import Path

import numpy as np
import pytest

from datamodules.samples import wikitext2


def test_entropy_is_what_the_source_itself_needs_for_a_long_text() -> None:
    """Score a drawn text with the true chances: the mean is the entropy but for chance, here 0.3 % of it."""
    nats, (before, last) = 0.0, wikitext2.START
    class_of = {word: (c + 1, rank) for c, group in enumerate(wikitext2.words()) for rank, word in enumerate(group)}
    tokens = [token for line in wikitext2.text(200_000, seed=7).split("\n")[:-1] for token in [*line.split(), "<eos>"]]
    for token in tokens:
        c, rank = class_of.get(token, (0, None))
        nats -= math.log(wikitext2.transitions()[before, last, c])
        nats -= 0.0 if rank is None else math.log(wikitext2.chances()[rank])
        before, last = last, c
    assert nats / len(tokens) == pytest.approx(wikitext2.entropy(), rel=0.01)
    assert math.exp(wikitext2.entropy()) == wikitext2.perplexity()


def test_words_are_all_different_and_a_few_hundred() -> None:
    words = [word for group in wikitext2.words() for word in group]
    assert len(words) == len(set(words)) == 264


def test_chances_sum_to_one_and_every_class_can_follow() -> None:
    assert wikitext2.transitions().sum(-1) == pytest.approx(np.ones((12, 12)))
    assert wikitext2.transitions().min() > 0
    assert wikitext2.chances().sum() == pytest.approx(1)


def test_set_is_the_same_each_time_and_its_splits_are_not(tmp_path: Path) -> None:
    for name in ("a", "b"):
        wikitext2.make(tmp_path / name, train=3000, valid=500, test=500)
    texts = {split: (tmp_path / "a" / f"{split}.txt").read_text() for split in ("train", "valid", "test")}
    assert texts == {split: (tmp_path / "b" / f"{split}.txt").read_text() for split in texts}
    assert texts["valid"] != texts["test"]
    assert sum(len(line.split()) + 1 for line in texts["train"].split("\n")[:-1]) == 3000
