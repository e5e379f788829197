"""Transcripts become labels and can be told from them; what cannot be spelt is said."""

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

from datamodules.speech.tokenizers import ALPHABET, BLANK, BOUNDARY, Characters, Pieces
from sextant import atomic_folder
from sextant.errors import InputError
from tests.datamodules.faults import in_fork, listing, snapshot

#: Every letter comes, some of them once.
TEXT = [
    *["THE CAT SAT ON THE MAT AND THE OTHER CATS SAT BY IT"] * 5,
    *["THAT THING THAT THEY THOUGHT OF WAS NOTHING"] * 3,
    *["DON'T BLOW UP FIRE", "JUMPY GHOSTS MAKE QUIVERING WAX", "A BUZZ"],
]
SIZE = 40


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Pieces:
    return Pieces(TEXT, SIZE, tmp_path_factory.mktemp("cache"))


def read_back(vocabulary: list[str], labels: list[int]) -> str:
    """The text that labels spell."""
    return "".join(vocabulary[label] for label in labels).replace(BOUNDARY, " ")


# Characters


def test_labels_of_librispeech_are_the_blank_the_space_the_apostrophe_and_the_letters() -> None:
    assert Characters().vocabulary == [BLANK, BOUNDARY, "'", *string.ascii_uppercase]
    assert Characters().spell("IT'S A") == [11, 22, 2, 21, 1, 3]


@given(st.text(ALPHABET))
def test_every_transcript_in_the_alphabet_can_be_read_back_from_its_labels(transcript: str) -> None:
    labels = Characters().spell(transcript)
    assert 0 not in labels, "the blank is no part of a transcript"
    assert read_back(Characters().vocabulary, labels) == transcript


@given(
    alphabet=st.lists(st.characters(exclude_characters=BOUNDARY), min_size=1, max_size=30, unique=True), data=st.data()
)
def test_any_alphabet_gives_a_label_to_each_of_its_characters(alphabet: list[str], data: st.DataObject) -> None:
    spelling = Characters("".join(alphabet))
    transcript = data.draw(st.text(st.sampled_from(alphabet)))
    assert len(spelling.vocabulary) == len(set(spelling.vocabulary)) == len(alphabet) + 1
    assert read_back(spelling.vocabulary, spelling.spell(transcript)) == transcript


@pytest.mark.parametrize("character", ["h", "\xc9", "-", "5", "\u0416", "\t", BOUNDARY])
def test_character_outside_of_the_alphabet_is_said(character: str) -> None:
    with pytest.raises(KeyError) as error:
        Characters().spell(f"TE{character}ST~")
    assert error.value.args == (character,)


@pytest.mark.parametrize("alphabet", ["", "ABA", "  AB"])
def test_empty_alphabet_and_one_with_a_character_twice_are_refused(alphabet: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"data.alphabet is {alphabet!r}")):
        Characters(alphabet)


# Pieces


def test_vocabulary_is_the_blank_and_as_many_pieces_as_were_asked_for(pieces: Pieces) -> None:
    assert pieces.vocabulary[0] == BLANK
    assert len(pieces.vocabulary) == len(set(pieces.vocabulary)) == SIZE + 1
    assert any(len(piece) > 2 for piece in pieces.vocabulary[1:] if not piece.startswith("<"))


def test_common_words_take_fewer_labels_than_characters(pieces: Pieces) -> None:
    assert len(pieces.spell("THE CAT THAT")) <= 6


WORDS = st.lists(st.text("'" + string.ascii_uppercase, min_size=1, max_size=9), min_size=1, max_size=5)


@settings(deadline=None)
@given(words=WORDS)
def test_every_transcript_can_be_read_back_from_its_pieces(pieces: Pieces, words: list[str]) -> None:
    transcript = " ".join(words)
    labels = pieces.spell(transcript)
    assert all(1 <= label <= SIZE for label in labels)
    assert pieces.vocabulary.index("<unk>") not in labels
    assert read_back(pieces.vocabulary, labels) == f" {transcript}", "each word begins with a boundary"


def test_characters_are_kept_as_they_are(tmp_path: Path) -> None:
    odd = "\ufb01ne \uff21\uff22 e\u0301 \xe9 \u0130"  # what a normalization would change
    spelling = Pieces([odd] * 3, 11, tmp_path)
    assert read_back(spelling.vocabulary, spelling.spell(odd)) == f" {odd}"


def test_rare_character_has_a_piece_too(tmp_path: Path) -> None:
    spelling = Pieces(["THE CAT SAT"] * 20_000 + ["\u0416"], 10, tmp_path)
    assert "\u0416" in spelling.vocabulary


def test_characters_of_a_long_transcript_have_pieces_too(tmp_path: Path) -> None:
    spelling = Pieces(["THE CAT SAT", "THE CAT SAT " * 400 + "X"], 9, tmp_path)
    assert "X" in spelling.vocabulary


@pytest.mark.parametrize("unknown", ["5", "\xc9", "h", "~~"])
def test_part_that_no_piece_spells_is_said(pieces: Pieces, unknown: str) -> None:
    with pytest.raises(KeyError) as error:
        pieces.spell(f"THE {unknown}CAT")
    assert unknown in error.value.args[0]


def test_pieces_are_the_same_wherever_they_are_made(tmp_path: Path) -> None:
    np.random.seed(0)
    torch.manual_seed(0)
    first = Pieces(TEXT, SIZE, tmp_path / "first")
    np.random.default_rng(5).random(3)
    torch.manual_seed(1)
    second = Pieces(TEXT, SIZE, tmp_path / "second")
    assert first.vocabulary == second.vocabulary
    (a,), (b,) = (list((tmp_path / name).rglob("*.model")) for name in ("first", "second"))
    assert [first.spell(line) for line in TEXT] == [second.spell(line) for line in TEXT]
    assert a.parent.name == b.parent.name


def test_pieces_are_made_once_for_the_same_transcripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Pieces(TEXT, SIZE, tmp_path)
    before = snapshot(tmp_path)

    def refuse(**options: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(sentencepiece.SentencePieceTrainer, "train", refuse)
    assert Pieces(TEXT, SIZE, tmp_path).vocabulary == first.vocabulary
    assert snapshot(tmp_path) == before


def test_other_transcripts_and_other_numbers_give_other_pieces(tmp_path: Path) -> None:
    first = Pieces(TEXT, SIZE, tmp_path).vocabulary
    assert len(Pieces(TEXT, SIZE + 1, tmp_path).vocabulary) == len(first) + 1
    other = Pieces([line.replace("SAT", "RAN") for line in TEXT], SIZE, tmp_path).vocabulary
    assert other != first
    assert Pieces(TEXT, SIZE, tmp_path).vocabulary == first


def test_pieces_of_another_corpus_are_kept(tmp_path: Path) -> None:
    Pieces(TEXT, SIZE, tmp_path)
    before = snapshot(tmp_path)
    Pieces(TEXT[::-1], SIZE, tmp_path)
    assert before.items() <= snapshot(tmp_path).items() | {(".", before["."])}


@pytest.mark.parametrize(("size", "reason"), [(1, "1 vs"), (5, "5 vs"), (5000, r"too high \(5000\).*<= \d+")])
def test_number_of_pieces_that_the_text_does_not_give_is_an_input_error_with_the_possible_ones(
    tmp_path: Path, size: int, reason: str
) -> None:
    with pytest.raises(InputError, match=rf"data\.pieces is {size}, .*{reason}"):
        Pieces(TEXT, size, tmp_path)
    assert listing(tmp_path) == []


def test_full_disk_is_an_input_error_that_leaves_nothing_behind(tmp_path: Path) -> None:
    _, error = in_fork(lambda: Pieces(TEXT, SIZE, tmp_path / "cache"), largest_file=200)
    assert len(Pieces(TEXT, SIZE, tmp_path / "cache").vocabulary) == SIZE + 1  # there is room again
    assert isinstance(error, InputError)
    assert "--data.cache" in str(error)


def test_characters_of_the_alphabet_have_pieces_even_if_no_transcript_has_them(tmp_path: Path) -> None:
    alphabet = ' ABC\xc9,="\\<'
    spelling = Pieces(["THE CAT SAT ON THE MAT"] * 3, 20, tmp_path, alphabet)
    assert set(alphabet.replace(" ", BOUNDARY)) <= set(spelling.vocabulary)
    assert read_back(spelling.vocabulary, spelling.spell("CAF\xc9 B".replace("F", ""))) == " CA\xc9 B"
    other = Pieces(["THE CAT SAT ON THE MAT"] * 3, 20, tmp_path, alphabet.replace("\xc9", "\xe8"))
    assert other.vocabulary != spelling.vocabulary


def test_corpus_of_short_words_alone_can_be_cut_into_pieces(tmp_path: Path) -> None:
    spelling = Pieces(["YES", "NO", "STOP", "GO"] * 5, 11, tmp_path)
    assert read_back(spelling.vocabulary, spelling.spell("STOP")) == " STOP"


def test_cache_that_may_only_be_read_serves_the_pieces_that_are_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Pieces(TEXT, SIZE, tmp_path)

    def refuse_to_write(*args: object) -> None:
        """Stand in for a lock where nothing can be written, which root can everywhere else."""
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(atomic_folder, "FileLock", refuse_to_write)
    assert Pieces(TEXT, SIZE, tmp_path).vocabulary == first.vocabulary


def test_cache_that_cannot_be_made_is_an_input_error_that_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file where the cache shall be")
    with pytest.raises(InputError, match=r"data\.cache"):
        Pieces(TEXT, SIZE, tmp_path / "file")
