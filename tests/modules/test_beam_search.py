"""The beam search, with and without a language model."""

import gzip
import itertools
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from modules.beam_search import BeamSearch, Decoding
from modules.networks.ctc import BLANK
from modules.transcript import BOUNDARY
from sextant.errors import InputError
from tests.mutations import require_only_input_errors

VOCABULARY = ["<blank>", BOUNDARY, *"ABCDE"]
ARPA = """\\data\\
ngram 1=6
ngram 2=4

\\1-grams:
-99\t<s>\t-0.3
-1.0\t</s>
-1.5\t<unk>
-0.7\tBAD\t-0.3
-0.7\tCAB\t-0.3
-1.2\tBED\t-0.3

\\2-grams:
-0.2\t<s> BAD
-0.1\tBAD CAB
-0.3\tCAB </s>
-2.0\t<s> BED

\\end\\
"""
#: Every word is as likely as every other, wherever it stands.
ALIKE = """\\data\\
ngram 1=6
ngram 2=1

\\1-grams:
-1.0\t<s>
-1.0\t</s>
-1.0\t<unk>
-1.0\tA
-1.0\tB
-1.0\tAB

\\2-grams:
-1.0\t<s> A

\\end\\
"""


@pytest.fixture
def arpa(tmp_path: Path) -> str:
    (tmp_path / "words.arpa").write_text(ARPA)
    return str(tmp_path / "words.arpa")


def emissions(path: str, doubtful: dict[int, str] | None = None) -> Tensor:
    """Log-probabilities (1, T, labels) that follow a path of labels, ``.`` being the blank.

    Args:
        path: one label a frame.
        doubtful: frames at which a label of the path has 0.45, the blank 0.05, and another label 0.5.
    """
    symbols = "." + "".join(VOCABULARY[1:]).replace(BOUNDARY, "_")
    probabilities = torch.full((1, len(path), len(VOCABULARY)), 1e-4)
    for frame, symbol in enumerate(path):
        probabilities[0, frame, symbols.index(symbol)] = 0.9
        if doubtful and frame in doubtful:
            probabilities[0, frame, symbols.index(symbol)] = 0.45
            probabilities[0, frame, symbols.index(doubtful[frame])] = 0.5
    return (probabilities / probabilities.sum(-1, keepdim=True)).log()


def text(labels: list[int]) -> str:
    return "".join(VOCABULARY[label] for label in labels).replace(BOUNDARY, " ")


def test_beam_without_language_model_finds_the_likeliest_labels_and_their_frames() -> None:
    (found,) = BeamSearch(VOCABULARY, Decoding(beam_size=20))(emissions("BB.A.DD_.C..A"), torch.tensor([13]))
    assert text(found.labels) == "BAD CA"
    assert all("BB.A.DD_.C..A"[frame] != "." for frame in found.frames)
    assert found.frames == sorted(found.frames)
    assert all(confidence > 0.8 for confidence in found.confidences)


def test_padding_is_not_decoded() -> None:
    log_probs = torch.cat([emissions("B.A"), emissions("CCC")], 1)
    (found,) = BeamSearch(VOCABULARY, Decoding(beam_size=20))(log_probs, torch.tensor([3]))
    assert text(found.labels) == "BA"


def test_beam_adds_up_the_paths_that_the_best_path_leaves_out() -> None:
    """Two frames in which each path alone is less likely than the blank's, and all of the label's together are not."""
    log_probs = torch.tensor([[[0.5, 0, 0.4], [0.5, 0, 0.4]]]).clamp(min=1e-6).log()
    paths = itertools.product((0, 2), repeat=2)
    by_text = {"": 0.0, "A": 0.0}
    for path in paths:
        by_text["A" if 2 in path else ""] += math.exp(sum(log_probs[0, t, label] for t, label in enumerate(path)))
    assert by_text["A"] > by_text[""]
    (found,) = BeamSearch(["<blank>", BOUNDARY, "A"], Decoding(beam_size=20))(log_probs, torch.tensor([2]))
    assert found.labels == [2]


def test_language_model_corrects_a_word(arpa: str) -> None:
    heard = emissions("B.A.D._.C.E.B", {10: "E", 4: "E"})
    heard[0, 10] = emissions("A", {0: "E"})[0, 0]
    (plain,) = BeamSearch(VOCABULARY, Decoding(beam_size=50))(heard, torch.tensor([13]))
    assert text(plain.labels) == "BAE CEB"
    rules = Decoding(beam_size=50, language_model=arpa, lm_weight=1.0)
    (found,) = BeamSearch(VOCABULARY, rules)(heard, torch.tensor([13]))
    assert text(found.labels) == "BAD CAB"
    assert found.frames == [0, 2, 4, 6, 8, 10, 12]
    assert found.confidences[2] == pytest.approx(0.45, abs=0.03)


@pytest.mark.parametrize(("lm_weight", "word"), [(0.3, "BED"), (0.5, "BAD")])
def test_language_model_decides_by_its_weight(arpa: str, lm_weight: float, word: str) -> None:
    """Of two words it likes one more, by 1.8, and the network the other, by log(2): the scales tip at 0.385."""
    heard = emissions("B.A.D")
    heard[0, 2, [VOCABULARY.index("A"), VOCABULARY.index("E")]] = torch.tensor([0.3, 0.6]).log()
    rules = Decoding(beam_size=50, language_model=arpa, lm_weight=lm_weight)
    (found,) = BeamSearch(VOCABULARY, rules)(heard, torch.tensor([5]))
    assert text(found.labels) == word


@pytest.mark.parametrize(("word_score", "words"), [(0.5, "AB"), (1.5, "A B")])
def test_word_score_decides_how_many_words_there_are(tmp_path: Path, word_score: float, words: str) -> None:
    """The network can't tell; the language model likes one word more than two, by 1 at a weight of 1."""
    (tmp_path / "words.arpa").write_text(ALIKE)
    heard = emissions("A.B")
    heard[0, 1, [BLANK, VOCABULARY.index(BOUNDARY)]] = math.log(0.45)
    rules = Decoding(beam_size=50, language_model=str(tmp_path / "words.arpa"), lm_weight=1.0, word_score=word_score)
    (found,) = BeamSearch(VOCABULARY, rules)(heard, torch.tensor([3]))
    assert text(found.labels) == words


def test_words_that_the_language_model_does_not_know_are_not_recognized(arpa: str) -> None:
    (found,) = BeamSearch(VOCABULARY, Decoding(beam_size=50, language_model=arpa))(
        emissions("D.A.D"), torch.tensor([5])
    )
    assert text(found.labels) == "BAD"


def test_silence_is_no_word(arpa: str) -> None:
    for rules in (Decoding(beam_size=50), Decoding(beam_size=50, language_model=arpa, word_score=-1.0)):
        (found,) = BeamSearch(VOCABULARY, rules)(emissions("...."), torch.tensor([4]))
        assert found.labels == []
    assert BLANK == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beam_size": 0}, r"model\.decoding\.beam_size is 0; it must be 1"),
        ({"beam_size": 5, "beam_threshold": 0.0}, r"model\.decoding\.beam_threshold is 0"),
        ({"language_model": "some.arpa"}, r"A language model needs a beam: give --model\.decoding\.beam_size"),
        ({"beam_size": 5, "language_model": "no.arpa"}, r"no\.arpa: there is no such file"),
    ],
)
def test_rules_that_make_no_sense_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Decoding(**settings)


def test_subwords_have_no_language_model(arpa: str) -> None:
    with pytest.raises(InputError, match="characters"):
        BeamSearch(["<blank>", BOUNDARY, "AB", "C"], Decoding(beam_size=5, language_model=arpa))


def test_file_that_is_no_language_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.arpa").write_text("not an n-gram model\n")
    with pytest.raises(InputError, match=r"bad\.arpa: it has no words of this model's characters"):
        BeamSearch(VOCABULARY, Decoding(beam_size=5, language_model=str(tmp_path / "bad.arpa")))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (ARPA.replace("BAD", "B\u00c9D").encode("latin-1"), ":9: not UTF-8 at byte"),
        (gzip.compress(ARPA.encode()), ": it is a gzip file, not text in UTF-8. Unpack it, for instance with: gunzip"),
        (
            b"mmap lm http://kheafield.com/code format version 5\n\0" + bytes(90),
            ": it is a binary language model of KenLM's",
        ),
        (b"\n<!DOCTYPE html>\n<html>", ": it is an HTML page"),
    ],
    ids=["latin 1", "gzip", "kenlm", "html"],
)
def test_file_of_another_format_is_no_language_model(arpa: str, content: bytes, complaint: str) -> None:
    Path(arpa).write_bytes(content)
    with pytest.raises(InputError) as error:
        BeamSearch(VOCABULARY, Decoding(beam_size=20, language_model=arpa))
    assert str(error.value).startswith(f"{arpa}{complaint}")


@pytest.mark.parametrize("count", ["-16", "99999999999999999999999", "1e3", "", "\u0664"])
def test_number_of_ngrams_that_no_file_has_is_named(arpa: str, count: str) -> None:
    """KenLM takes it for a size."""
    Path(arpa).write_text(ARPA.replace("ngram 2=4", f"ngram 2={count}"), encoding="utf-8")
    with pytest.raises(InputError, match="line 3: no n-gram model in ARPA format has '"):
        BeamSearch(VOCABULARY, Decoding(beam_size=20, language_model=arpa))


@pytest.mark.fuzz
def test_language_model_with_any_damage_is_used_or_refused(arpa: str) -> None:
    def search() -> None:
        BeamSearch(VOCABULARY, Decoding(beam_size=5, language_model=arpa))(emissions("BB.A.DD_"), torch.tensor([8]))

    require_only_input_errors(Path(arpa), search)
