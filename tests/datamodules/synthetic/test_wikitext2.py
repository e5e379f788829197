"""The synthetic text comes from the source that is described, and its entropy is the one that is said."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.synthetic import wikitext2 as synthetic_set
from datamodules.text.sources import FILE_NAMES, SPLITS, TextFiles
from datamodules.text.token_stream import EOS, UNK, TokenStreams
from tests.filesystem import listing, snapshot

CONFIG = Path(__file__).resolve().parents[3] / "configs" / "synthetic" / "transformer_wikitext2.yaml"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic set as users get it."""
    root = tmp_path_factory.mktemp("synthetic") / synthetic_set.FOLDER
    synthetic_set.make(root)
    return root


@pytest.fixture(scope="module")
def streams(root: Path, tmp_path_factory: pytest.TempPathFactory) -> TokenStreams:
    return TokenStreams(TextFiles(root), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def classes(streams: TokenStreams) -> np.ndarray:
    """The classes of the training tokens, found by their words."""
    class_of = {EOS: 0} | {word: k for k, words in enumerate(synthetic_set.words(), 1) for word in words}
    of_number = np.array([class_of.get(word, -1) for word in streams.vocabulary])
    found = of_number[streams.open("train")]
    assert (found >= 0).all()
    return found


def surprise(streams: TokenStreams, split: str) -> np.ndarray:
    """What each token of a split costs the true source, in nats: its class after two others, and its word."""
    place = {word: (k, i) for k, words in enumerate(synthetic_set.words(), 1) for i, word in enumerate(words)}
    chain, probabilities = synthetic_set.transitions(), synthetic_set.word_probabilities()
    before, last = synthetic_set.START
    nats = []
    for number in streams.open(split):
        word = streams.vocabulary[number]
        present, rank = place.get(word, (0, None))
        assert present or word == EOS
        probability = chain[before, last, present] * (1 if rank is None else probabilities[rank])
        nats.append(-math.log(probability))
        before, last = last, present
    return np.array(nats)


def test_source_is_made_of_word_probabilities() -> None:
    chain, probabilities = synthetic_set.transitions(), synthetic_set.word_probabilities()
    assert chain.shape == (synthetic_set.CLASSES,) * 3
    assert (chain > 0).all(), "a state may be a trap"
    np.testing.assert_allclose(chain.sum(-1), 1, rtol=1e-12)
    assert probabilities.shape == (synthetic_set.WORDS_PER_CLASS,)
    assert (np.diff(probabilities) < 0).all()
    assert probabilities.sum() == pytest.approx(1)


def test_entropy_is_what_a_long_text_costs_the_true_source(streams: TokenStreams) -> None:
    nats = surprise(streams, "train")[:-1]  # the last line is ended early
    # Tokens depend on each other: the error of the mean is taken from means over parts.
    means = nats[: len(nats) // 1000 * 1000].reshape(-1, 1000).mean(1)
    error = means.std() / math.sqrt(len(means))
    assert error < 0.02
    assert abs(nats.mean() - synthetic_set.entropy()) < 4 * error


def test_entropy_is_that_of_the_chain_in_its_stationary_state() -> None:
    classes, chain = synthetic_set.CLASSES, synthetic_set.transitions()
    step = np.zeros((classes**2, classes**2))  # from a pair of classes to the next one
    for a in range(classes):
        for b in range(classes):
            step[a * classes + b, b * classes : (b + 1) * classes] = chain[a, b]
    system = np.vstack([step.T - np.eye(classes**2), np.ones(classes**2)])
    stationary = np.linalg.lstsq(system, np.eye(classes**2 + 1)[-1], rcond=None)[0]
    np.testing.assert_allclose(stationary @ step, stationary, atol=1e-12)
    total = 0.0
    for pair, weight in enumerate(stationary):
        for k, probability in enumerate(chain.reshape(-1, classes)[pair]):
            words = [probability] if k == 0 else probability * synthetic_set.word_probabilities()
            total -= weight * sum(p * math.log(p) for p in words)
    assert synthetic_set.entropy() == pytest.approx(total, rel=1e-9)
    assert synthetic_set.perplexity() == pytest.approx(math.exp(total), rel=1e-9)


def test_classes_follow_each_other_as_the_chain_says(classes: np.ndarray) -> None:
    found = np.zeros((synthetic_set.CLASSES,) * 3)
    np.add.at(found, (classes[:-3], classes[1:-2], classes[2:-1]), 1)
    often = found.sum(-1) > 500
    assert often.sum() > 50
    frequencies = found[often] / found[often].sum(-1, keepdims=True)
    error = np.sqrt(synthetic_set.transitions()[often] / found[often].sum(-1, keepdims=True))
    assert (abs(frequencies - synthetic_set.transitions()[often]) < 5 * error + 1e-3).all()


def test_words_of_a_class_follow_zipfs_law(streams: TokenStreams) -> None:
    counts = np.bincount(streams.open("train"), minlength=len(streams.vocabulary))
    number = {word: k for k, word in enumerate(streams.vocabulary)}
    by_class = np.array([[counts[number[word]] for word in words] for words in synthetic_set.words()])
    frequencies = by_class.sum(0) / by_class.sum()
    np.testing.assert_allclose(frequencies, synthetic_set.word_probabilities(), rtol=0.08)


def test_knowing_the_chain_is_worth_more_than_knowing_how_often_words_come(streams: TokenStreams) -> None:
    frequencies = np.bincount(streams.open("train")) / len(streams.open("train"))
    frequencies = frequencies[frequencies > 0]
    assert -(frequencies * np.log(frequencies)).sum() > synthetic_set.entropy() + 0.5


def test_words_are_distinct_across_classes_and_are_words_of_letters() -> None:
    words = [word for words in synthetic_set.words() for word in words]
    assert [len(words) for words in synthetic_set.words()] == [synthetic_set.WORDS_PER_CLASS] * (
        synthetic_set.CLASSES - 1
    )
    assert len(set(words)) == len(words)
    assert all(word.isascii() and word.isalpha() and word.islower() for word in words)


@settings(max_examples=60, deadline=None)
@given(tokens=st.integers(1, 400), seed=st.integers(0, 1000))
def test_text_has_exactly_as_many_tokens_as_were_asked_for(
    tmp_path_factory: pytest.TempPathFactory, tokens: int, seed: int
) -> None:
    folder = tmp_path_factory.getbasetemp() / "drawn"
    folder.mkdir(exist_ok=True)
    text = synthetic_set.text(tokens, seed)
    assert text.endswith("\n")
    (folder / "train.txt").write_text(text)
    source = TextFiles(folder)
    assert sum(len(line.split()) + 1 for line, _ in source.lines("train")) == tokens


def test_splits_have_the_tokens_that_were_asked_for(streams: TokenStreams) -> None:
    assert {split: len(streams.open(split)) for split in SPLITS} == {"train": 200_000, "val": 20_000, "test": 20_000}


def test_vocabulary_is_every_word_and_the_configuration_has_its_size(streams: TokenStreams) -> None:
    assert set(streams.vocabulary) == {EOS, UNK} | {word for words in synthetic_set.words() for word in words}
    assert streams.unknown == dict.fromkeys(SPLITS, 0)
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    assert config["model"]["init_args"]["vocab_size"] == len(streams.vocabulary)


def test_synthetic_text_is_in_the_layout_of_the_published_one(root: Path) -> None:
    assert listing(root) == ["test.txt", "train.txt", "valid.txt"]
    for split in SPLITS:
        text = (root / FILE_NAMES[split][0]).read_bytes()
        assert text.isascii()
        assert text.endswith(b" \n")
        assert all(line.startswith(b" ") for line in text.split(b"\n")[:-1])


def test_splits_are_drawn_apart(streams: TokenStreams) -> None:
    starts = {streams.open(split)[:100].tobytes() for split in SPLITS}
    assert len(starts) == 3


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_synthetic_text_is_the_same_whenever_it_is_made(root: Path, tmp_path: Path) -> None:
    synthetic_set.make(tmp_path / "first", train=500, val=100, test=50)
    np.random.default_rng(5).random(3)
    synthetic_set.make(tmp_path / "second", train=500, val=100, test=50)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    assert synthetic_set.text(50, seed=1) == synthetic_set.text(50, seed=1) != synthetic_set.text(50, seed=2)


def test_synthetic_text_stays_what_it_was_for_figures_in_the_ledger() -> None:
    assert synthetic_set.text(12, seed=0) == " bami \n tuke sudo rano sota \n debu relu pabo vizo \n"
    assert synthetic_set.perplexity() == pytest.approx(38.55, abs=5e-3)


def test_synthetic_text_that_is_there_is_left_alone(tmp_path: Path) -> None:
    synthetic_set.make(tmp_path / "data", train=50, val=10, test=10)
    before = snapshot(tmp_path / "data")
    synthetic_set.make(tmp_path / "data", train=60, val=20, test=20)
    assert snapshot(tmp_path / "data") == before


def test_nothing_is_kept_if_making_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = synthetic_set.text

    def stop(tokens: int, seed: int) -> str:
        if seed == 2:
            raise KeyboardInterrupt
        return draw(tokens, seed)

    monkeypatch.setattr(synthetic_set, "text", stop)
    with pytest.raises(KeyboardInterrupt):
        synthetic_set.make(tmp_path / "data", train=50, val=10, test=10)
    assert listing(tmp_path) == []
