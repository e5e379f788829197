"""Transcripts become label ids and can be told from them; what is not in the vocabulary is named."""

import errno
import re
import string
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.speech.tokenizers import ALPHABET, BLANK, BOUNDARY, CharacterTokenizer, SubwordTokenizer, Tokenization
from sextant import atomic_folder
from sextant.errors import InputError
from tests.filesystem import listing, snapshot
from tests.processes import in_fork

#: Every letter comes, some of them once.
TEXT = [
    *["THE CAT SAT ON THE MAT AND THE OTHER CATS SAT BY IT"] * 5,
    *["THAT THING THAT THEY THOUGHT OF WAS NOTHING"] * 3,
    *["DON'T BLOW UP FIRE", "JUMPY GHOSTS MAKE QUIVERING WAX", "A BUZZ"],
]
SIZE = 40


@pytest.fixture(scope="module")
def subwords(tmp_path_factory: pytest.TempPathFactory) -> SubwordTokenizer:
    return SubwordTokenizer(TEXT, SIZE, tmp_path_factory.mktemp("cache"))


def read_back(vocabulary: list[str], labels: list[int]) -> str:
    """The text that labels stand for."""
    return "".join(vocabulary[label] for label in labels).replace(BOUNDARY, " ")


# Characters


def test_labels_of_librispeech_are_the_blank_the_space_the_apostrophe_and_the_letters() -> None:
    assert CharacterTokenizer().vocabulary == [BLANK, BOUNDARY, "'", *string.ascii_uppercase]
    assert CharacterTokenizer().encode("IT'S A") == [11, 22, 2, 21, 1, 3]


@given(st.text(ALPHABET))
def test_every_transcript_in_the_alphabet_can_be_read_back_from_its_labels(transcript: str) -> None:
    labels = CharacterTokenizer().encode(transcript)
    assert 0 not in labels, "the blank is no part of a transcript"
    assert read_back(CharacterTokenizer().vocabulary, labels) == transcript


@given(
    alphabet=st.lists(st.characters(exclude_characters=BOUNDARY), min_size=1, max_size=30, unique=True), data=st.data()
)
def test_any_alphabet_gives_a_label_to_each_of_its_characters(alphabet: list[str], data: st.DataObject) -> None:
    tokenizer = CharacterTokenizer("".join(alphabet))
    transcript = data.draw(st.text(st.sampled_from(alphabet)))
    assert len(tokenizer.vocabulary) == len(set(tokenizer.vocabulary)) == len(alphabet) + 1
    assert read_back(tokenizer.vocabulary, tokenizer.encode(transcript)) == transcript


@pytest.mark.parametrize("character", ["h", "\xc9", "-", "5", "\u0416", "\t", BOUNDARY])
def test_character_outside_of_the_alphabet_is_named(character: str) -> None:
    with pytest.raises(KeyError) as error:
        CharacterTokenizer().encode(f"TE{character}ST~")
    assert error.value.args == (character,)


@pytest.mark.parametrize("alphabet", ["", "ABA", "  AB"])
def test_empty_alphabet_and_one_with_a_character_twice_are_refused(alphabet: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"data.tokenizer.alphabet is {alphabet!r}")):
        CharacterTokenizer(alphabet)


def test_number_of_subwords_below_none_is_refused() -> None:
    with pytest.raises(InputError, match=r"data\.tokenizer\.subwords is -1; it must be 0"):
        Tokenization(subwords=-1)


# Subwords


def test_vocabulary_is_the_blank_and_as_many_subwords_as_were_asked_for(subwords: SubwordTokenizer) -> None:
    assert subwords.vocabulary[0] == BLANK
    assert len(subwords.vocabulary) == len(set(subwords.vocabulary)) == SIZE + 1
    assert any(len(subword) > 2 for subword in subwords.vocabulary[1:] if not subword.startswith("<"))


def test_common_words_take_fewer_labels_than_characters(subwords: SubwordTokenizer) -> None:
    assert len(subwords.encode("THE CAT THAT")) <= 6


WORDS = st.lists(st.text("'" + string.ascii_uppercase, min_size=1, max_size=9), min_size=1, max_size=5)


@settings(deadline=None)
@given(words=WORDS)
def test_every_transcript_can_be_read_back_from_its_subwords(subwords: SubwordTokenizer, words: list[str]) -> None:
    transcript = " ".join(words)
    labels = subwords.encode(transcript)
    assert all(1 <= label <= SIZE for label in labels)
    assert subwords.vocabulary.index("<unk>") not in labels
    assert read_back(subwords.vocabulary, labels) == f" {transcript}", "each word begins with a boundary"


def test_characters_are_kept_as_they_are(tmp_path: Path) -> None:
    odd = "\ufb01ne \uff21\uff22 e\u0301 \xe9 \u0130"  # what a normalization would change
    tokenizer = SubwordTokenizer([odd] * 3, 11, tmp_path)
    assert read_back(tokenizer.vocabulary, tokenizer.encode(odd)) == f" {odd}"


def test_rare_character_is_a_subword_too(tmp_path: Path) -> None:
    tokenizer = SubwordTokenizer(["THE CAT SAT"] * 20_000 + ["\u0416"], 10, tmp_path)
    assert "\u0416" in tokenizer.vocabulary


def test_characters_of_a_long_transcript_are_subwords_too(tmp_path: Path) -> None:
    tokenizer = SubwordTokenizer(["THE CAT SAT", "THE CAT SAT " * 400 + "X"], 9, tmp_path)
    assert "X" in tokenizer.vocabulary


@pytest.mark.parametrize("unknown", ["5", "\xc9", "h", "~~"])
def test_part_that_is_no_sequence_of_subwords_is_named(subwords: SubwordTokenizer, unknown: str) -> None:
    with pytest.raises(KeyError) as error:
        subwords.encode(f"THE {unknown}CAT")
    assert unknown in error.value.args[0]


def test_subwords_are_the_same_wherever_they_are_made(tmp_path: Path) -> None:
    np.random.seed(0)
    torch.manual_seed(0)
    first = SubwordTokenizer(TEXT, SIZE, tmp_path / "first")
    np.random.default_rng(5).random(3)
    torch.manual_seed(1)
    second = SubwordTokenizer(TEXT, SIZE, tmp_path / "second")
    assert first.vocabulary == second.vocabulary
    (a,), (b,) = (list((tmp_path / name).rglob("*.model")) for name in ("first", "second"))
    assert [first.encode(line) for line in TEXT] == [second.encode(line) for line in TEXT]
    assert a.parent.name == b.parent.name


def test_subwords_are_made_once_for_the_same_transcripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = SubwordTokenizer(TEXT, SIZE, tmp_path)
    before = snapshot(tmp_path)

    def refuse(**options: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(sentencepiece.SentencePieceTrainer, "train", refuse)
    assert SubwordTokenizer(TEXT, SIZE, tmp_path).vocabulary == first.vocabulary
    assert snapshot(tmp_path) == before


def test_other_transcripts_and_other_sizes_give_other_subwords(tmp_path: Path) -> None:
    first = SubwordTokenizer(TEXT, SIZE, tmp_path).vocabulary
    assert len(SubwordTokenizer(TEXT, SIZE + 1, tmp_path).vocabulary) == len(first) + 1
    other = SubwordTokenizer([line.replace("SAT", "RAN") for line in TEXT], SIZE, tmp_path).vocabulary
    assert other != first
    assert SubwordTokenizer(TEXT, SIZE, tmp_path).vocabulary == first


def test_subwords_of_another_corpus_are_kept(tmp_path: Path) -> None:
    SubwordTokenizer(TEXT, SIZE, tmp_path)
    before = snapshot(tmp_path)
    SubwordTokenizer(TEXT[::-1], SIZE, tmp_path)
    assert before.items() <= snapshot(tmp_path).items() | {(".", before["."])}


@pytest.mark.parametrize(("size", "reason"), [(1, "1 vs"), (5, "5 vs"), (5000, r"too high \(5000\).*<= \d+")])
def test_number_of_subwords_that_the_text_does_not_give_is_an_input_error_with_the_possible_ones(
    tmp_path: Path, size: int, reason: str
) -> None:
    with pytest.raises(InputError, match=rf"data\.tokenizer\.subwords is {size}, .*{reason}"):
        SubwordTokenizer(TEXT, size, tmp_path)
    assert listing(tmp_path) == []


def test_full_disk_is_an_input_error_that_leaves_nothing_behind(tmp_path: Path) -> None:
    _, error = in_fork(lambda: SubwordTokenizer(TEXT, SIZE, tmp_path / "cache"), largest_file=200)
    assert len(SubwordTokenizer(TEXT, SIZE, tmp_path / "cache").vocabulary) == SIZE + 1  # there is room again
    assert isinstance(error, InputError)
    assert "--data.cache" in str(error)


def test_characters_of_the_alphabet_are_subwords_even_if_no_transcript_has_them(tmp_path: Path) -> None:
    alphabet = ' ABC\xc9,="\\<'
    tokenizer = SubwordTokenizer(["THE CAT SAT ON THE MAT"] * 3, 20, tmp_path, alphabet)
    assert set(alphabet.replace(" ", BOUNDARY)) <= set(tokenizer.vocabulary)
    assert read_back(tokenizer.vocabulary, tokenizer.encode("CAF\xc9 B".replace("F", ""))) == " CA\xc9 B"
    other = SubwordTokenizer(["THE CAT SAT ON THE MAT"] * 3, 20, tmp_path, alphabet.replace("\xc9", "\xe8"))
    assert other.vocabulary != tokenizer.vocabulary


def test_corpus_of_short_words_alone_has_subwords(tmp_path: Path) -> None:
    tokenizer = SubwordTokenizer(["YES", "NO", "STOP", "GO"] * 5, 11, tmp_path)
    assert read_back(tokenizer.vocabulary, tokenizer.encode("STOP")) == " STOP"


def test_cache_that_may_only_be_read_serves_the_subwords_that_are_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = SubwordTokenizer(TEXT, SIZE, tmp_path)

    def refuse_to_write(*args: object) -> None:
        """Stand in for a lock where nothing can be written, which root can everywhere else."""
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(atomic_folder, "FileLock", refuse_to_write)
    assert SubwordTokenizer(TEXT, SIZE, tmp_path).vocabulary == first.vocabulary


def test_cache_that_cannot_be_made_is_an_input_error_that_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file where the cache shall be")
    with pytest.raises(InputError, match=r"data\.cache"):
        SubwordTokenizer(TEXT, SIZE, tmp_path / "file")
