"""Answers are compared, and counted, as the official VQA evaluation does."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.vqa.scoring import CONTRACTIONS, NUMBERS, normalize, score, scores


@pytest.mark.parametrize(
    ("answer", "normal"),
    [
        # letters and spaces
        ("STOP", "stop"),
        ("  New   York ", "new york"),
        ("New\tYork", "new york"),
        ("New\nYork", "new york"),
        ("\u00c9t\u00e9", "\u00e9t\u00e9"),
        ("", ""),
        # articles
        ("the cat", "cat"),
        ("A stop sign", "stop sign"),
        ("an apple a day", "apple day"),
        ("The", ""),
        ("theatre", "theatre"),
        # number words, whole words only
        ("Two cats", "2 cats"),
        ("none", "0"),
        ("eleven", "eleven"),
        ("someone", "someone"),
        ("twenty-one", "twenty 1"),
        # marks become a space, or nothing if one stands beside a space
        ("a stop-sign", "stop sign"),
        ("stop - sign", "stop sign"),
        ("post -it", "post it"),
        ("\t-stop-sign ", "stop sign"),
        ("stop-sign, red-ish -", "stopsign redish"),
        ("what?!", "what"),
        ("yes, no", "yes no"),
        ("yes,no", "yes no"),
        ('[a] {b} (c) "d"', "b c d"),
        ("a/b;c=d+e\\f_g>h<i@j`k", "b c d e f g h i j k"),
        # a comma between digits takes every mark away without a space
        ("1,000", "1000"),
        ("1, 000", "1 000"),
        ("ten,000", "10 000"),
        ("2-door, 1,000", "2door 1000"),
        ("1,000,000-2", "10000002"),
        # full stops stay before a digit only
        ("5.", "5"),
        ("5.0", "5.0"),
        (".5", ".5"),
        ("U.S.A.", "usa"),
        ("www.site.com", "wwwsitecom"),
        ("v.2", "v.2"),
        ("...", ""),
        # other marks stay
        ("10:30", "10:30"),
        ("$5.00", "$5.00"),
        ("50%", "50%"),
        ("#1", "#1"),
        # apostrophes
        ("don't", "don't"),
        ("dont", "don't"),
        ("Dont", "don't"),
        ("couldnt've", "couldn't've"),
        ("somebody'd", "somebodyd"),
        ("oclock", "o'clock"),
        ("twas", "'twas"),
        ("dunkin' donuts", "dunkin' donuts"),
        ("whats that", "what's that"),
        # what the official script has with a capital letter never applies
        ("Im", "im"),
        ("Ive", "ive"),
    ],
)
def test_answer_is_written_as_the_official_script_writes_it(answer: str, normal: str) -> None:
    assert normalize(answer) == normal


def test_number_words_are_those_from_zero_to_ten_and_none() -> None:
    words = "none zero one two three four five six seven eight nine ten"
    assert normalize(words) == "0 0 1 2 3 4 5 6 7 8 9 10"
    assert NUMBERS.keys() == set(words.split())


def test_contractions_differ_from_what_they_become_in_apostrophes_alone() -> None:
    assert len(CONTRACTIONS) == 114
    for word, right in CONTRACTIONS.items():
        assert word != right
        assert word.replace("'", "") == right.replace("'", "")
        assert normalize(word.upper()) == right


@given(agreeing=st.integers(0, 30), others=st.integers(0, 30))
def test_score_is_the_mean_over_leaving_each_annotator_out(agreeing: int, others: int) -> None:
    annotators = [True] * agreeing + [False] * others
    if not annotators:
        return
    accuracies = []
    for k in range(len(annotators)):
        agree = sum(annotators[:k] + annotators[k + 1 :])
        accuracies.append(min(agree / 3, 1))
    assert score(agreeing, len(annotators)) == pytest.approx(sum(accuracies) / len(annotators))


@pytest.mark.parametrize(("agreeing", "worth"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (10, 1)])
def test_answers_of_ten_annotators_are_worth_what_is_published(agreeing: int, worth: float) -> None:
    assert score(agreeing, 10) == pytest.approx(worth)


def test_annotators_who_mean_the_same_agree_however_they_write_it() -> None:
    found = scores(["Stop sign", "a stop-sign", "stop sign.", "STOP SIGN!", *["two"] * 3, "2", "dont", "unanswerable"])
    assert found == pytest.approx({"stop sign": 1, "2": 1, "don't": 0.3, "unanswerable": 0.3})


@pytest.mark.parametrize(
    ("answers", "counts"),
    [
        (["a1"], {"a1": 10}),
        (["a1", "b1"], {"a1": 5, "b1": 5}),
        (["a1", "b1", "c1"], {"a1": 4, "b1": 3, "c1": 3}),
        (["a1", "b1", "c1", "d1", "e1", "f1"], {"a1": 2, "b1": 2, "c1": 2, "d1": 2, "e1": 1, "f1": 1}),
    ],
)
def test_fewer_than_ten_answers_are_repeated_in_their_order(answers: list[str], counts: dict[str, int]) -> None:
    assert scores(answers) == pytest.approx({answer: score(count, 10) for answer, count in counts.items()})


def test_more_than_ten_answers_count_as_they_are() -> None:
    answers = ["x"] * 3 + ["y"] * 9
    assert scores(answers) == pytest.approx({"x": (3 * 2 / 3 + 9) / 12, "y": 1})


@given(st.lists(st.sampled_from(["red", "Red", "the red", "2", "two", "blue-green", "no"]), min_size=10, max_size=10))
def test_worth_of_ten_answers_is_that_of_each_normal_form_among_them(answers: list[str]) -> None:
    counts = Counter(normalize(answer) for answer in answers)
    assert scores(answers) == pytest.approx({answer: score(count, 10) for answer, count in counts.items()})
