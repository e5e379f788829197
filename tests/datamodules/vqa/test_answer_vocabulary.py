"""The answers to choose from are those of a file or the frequent ones, and what is wrong with either is named."""

from pathlib import Path

import pytest
import torch

from datamodules.vqa.answer_vocabulary import UNKNOWN, AnswerVocabulary, most_frequent
from sextant.errors import InputError


def written(folder: Path, content: str | bytes) -> Path:
    file = folder / "answers.txt"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


@pytest.mark.parametrize(
    "content",
    [
        "<unk>\nyes\nstop sign\n2\n",
        "<unk>\nyes\nstop sign\n2",
        "<unk>\r\nyes\r\nstop sign\r\n2\r\n",
        "\ufeff<unk>\nyes\nstop sign\n2\n",
        "<unk> \n yes\nstop sign\t\n2\n",
        "<unk>\ryes\rstop sign\r2\r",
        "<unk>\nyes\nstop sign\n2\n\n  \n",
    ],
)
def test_file_has_an_answer_in_each_line(tmp_path: Path, content: str) -> None:
    assert AnswerVocabulary.read(written(tmp_path, content)).answers == [UNKNOWN, "yes", "stop sign", "2"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("yes\n<unk>\nno\n", ": its first line is 'yes'; it must be <unk>"),
        ("yes\nno\n", ": its first line is 'yes'; it must be <unk>"),
        ("", ": it is empty; it must be <unk>"),
        ("<unk>\nyes\nno\nyes\n", ":4: 'yes' is there already, in line 2"),
        ("<unk>\nyes\n<unk>\n", ":3: '<unk>' is there already, in line 1"),
        ("<unk>\nyes\n yes \n", ":3: 'yes' is there already, in line 2"),
        ("<unk>\nyes\n\nno\n", ":3: the line is blank, but each line is an answer (data.preprocessing.answers)"),
        (b"<unk>\ncaf\xe9\n", ":2: not UTF-8 at byte 9 (0xe9)"),
    ],
)
def test_fault_in_the_file_is_named_with_its_line(tmp_path: Path, content: str | bytes, complaint: str) -> None:
    file = written(tmp_path, content)
    with pytest.raises(InputError) as error:
        AnswerVocabulary.read(file)
    assert str(error.value).startswith(f"{file}{complaint}")


@pytest.mark.parametrize("name", ["missing.txt", "."])
def test_file_that_cannot_be_read_is_named_with_its_setting(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"cannot be read .*data\.preprocessing\.answers.*<unk>") as error:
        AnswerVocabulary.read(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["a", "b", "b"], "b"),
        (["b", "a", "a", "b"], "b"),
        ([" a", "b", "a "], "a"),
        (["A", "b", "a", "b"], "b"),
    ],
)
def test_most_frequent_answer_is_the_first_one_at_a_tie(answers: list[str], expected: str) -> None:
    assert most_frequent(answers) == expected


@pytest.mark.parametrize(
    ("min_count", "expected"),
    [(1, ["yes", "no", "2", "blue", "red"]), (2, ["yes", "no"]), (3, ["yes"])],
)
def test_training_answers_come_by_frequency_and_then_by_letters(min_count: int, expected: list[str]) -> None:
    questions = [["no"], ["red"], ["yes", "no", "yes"], ["2"], ["yes"] * 10, ["yes"], ["no", "no", "yes"], ["blue"]]
    assert AnswerVocabulary.build(questions, min_count).answers == [UNKNOWN, *expected]


def test_unknown_mark_among_the_training_answers_is_not_there_twice() -> None:
    assert AnswerVocabulary.build([[UNKNOWN], [UNKNOWN], ["yes"]], 1).answers == [UNKNOWN, "yes"]


@pytest.mark.parametrize("questions", [[["yes"], ["yes"], ["no"]], [[UNKNOWN]] * 5, []])
def test_minimum_that_no_answer_reaches_is_an_input_error_that_names_it(questions: list[list[str]]) -> None:
    with pytest.raises(InputError, match=r"data\.preprocessing\.min_count is 3"):
        AnswerVocabulary.build(questions, 3)


@pytest.fixture
def vocabulary() -> AnswerVocabulary:
    return AnswerVocabulary([UNKNOWN, "yes", "stop sign", "Stop-Sign", "2", "no"])


@pytest.mark.parametrize(
    ("answers", "number"),
    [
        (["yes"] * 10, 1),
        (["no", "no", "yes"], 5),
        (["Stop-Sign"], 3),  # as it is written, if it is there so
        (["The stop sign."], 2),  # or else the first that is the same by the official rules
        (["two"], 4),
        (["maybe"], 0),
        (["maybe", "maybe", "yes"], 0),
        ([UNKNOWN], 0),
        (["unk"], 0),
    ],
)
def test_label_is_the_number_of_the_most_frequent_answer_and_0_for_an_unknown_one(
    vocabulary: AnswerVocabulary, answers: list[str], number: int
) -> None:
    assert vocabulary.label(answers) == number


@pytest.mark.parametrize(
    ("answers", "worth"),
    [
        (["yes"] * 8 + ["no"] * 2, {1: 1.0, 5: 0.6}),
        (["a stop sign", *["maybe"] * 9], {2: 0.3, 3: 0.3}),  # every answer of the same normal form
        (["maybe"] * 10, {0: 0.0}),
        ([UNKNOWN] * 10, {0: 0.0}),
        (["Two", "2", "yes"] + ["x"] * 7, {4: 0.6, 1: 0.3}),
        (["no"], {5: 1.0}),
    ],
)
def test_all_answers_that_are_worth_something_have_their_official_score(
    vocabulary: AnswerVocabulary, answers: list[str], worth: dict[int, float]
) -> None:
    numbers, values = vocabulary.scores(answers)
    assert (numbers.dtype, values.dtype) == (torch.int64, torch.float32)
    assert dict(zip(numbers.tolist(), values.tolist(), strict=True)) == pytest.approx(worth)
