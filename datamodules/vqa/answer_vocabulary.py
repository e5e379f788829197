"""The answers that a model can choose from, and their scores for a question."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from datamodules.vqa.scoring import normalize, scores
from sextant.errors import InputError
from sextant.files.text_file import entries

UNKNOWN = "<unk>"
SETTING = "data.preprocessing.answers"  # names the file


class AnswerVocabulary:
    """Answers with their ids; id 0 is ``<unk>``, which stands for all others.

    Args:
        answers: the answers, each once, ``<unk>`` first.
    """

    def __init__(self, answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self._id = {answer: i for i, answer in enumerate(answers)}
        # The ids of the answers with the same normal form.
        self._alike: dict[str, list[int]] = defaultdict(list)
        for i, answer in enumerate(answers[1:], 1):
            self._alike[normalize(answer)].append(i)

    @classmethod
    def read(cls, file: Path) -> "AnswerVocabulary":
        """The vocabulary of a file with one answer a line, ``<unk>`` first.

        MMF's ``answers_textvqa_more_than_1.txt`` is one.

        Raises:
            InputError: the file is missing or not UTF-8, ``<unk>`` is not first, or an answer is empty or there twice.
        """
        if not file.is_file():
            raise InputError(
                f"{file}: cannot be read (there is no such file; {SETTING}). Give a file with one answer a line, "
                f"{UNKNOWN} first, or leave it out to take the training answers."
            )
        answers = [line.strip() for _, line in entries(file, f"an answer ({SETTING})")]
        if UNKNOWN not in answers[:1]:
            found = f"its first line is {answers[0]!r}" if any(answers) else "it is empty"
            raise InputError(
                f"{file}: {found}; it must be {UNKNOWN}, which stands for all other answers ({SETTING}). Put it there."
            )
        line_of: dict[str, int] = {}
        for number, answer in enumerate(answers, 1):
            if answer in line_of:
                raise InputError(
                    f"{file}:{number}: {answer!r} is there already, in line {line_of[answer]} ({SETTING}). Remove "
                    "one of the two."
                )
            line_of[answer] = number
        return cls(answers)

    @classmethod
    def build(cls, questions: Iterable[Sequence[str]], min_count: int) -> "AnswerVocabulary":
        """The answers that most annotators gave to at least ``min_count`` questions, the most frequent first.

        Args:
            questions: the annotators' answers to each question.
            min_count: 1 or more.

        Raises:
            InputError: there is no such answer.
        """
        counts = Counter(most_frequent(answers) for answers in questions)
        counts.pop(UNKNOWN, None)
        frequent = sorted((-count, answer) for answer, count in counts.items() if count >= min_count)
        if not frequent:
            raise InputError(
                f"data.preprocessing.min_count is {min_count}, but no answer is the most frequent one of so many "
                "training questions. Lower it."
            )
        return cls([UNKNOWN, *(answer for _, answer in frequent)])

    def label(self, answers: Sequence[str]) -> int:
        """The id of the answer that most annotators gave (the first of them at a tie), 0 if it is unknown."""
        answer = most_frequent(answers)
        return self._id.get(answer) or self._alike.get(normalize(answer), [0])[0]

    def scores(self, answers: Sequence[str]) -> tuple[Tensor, Tensor]:
        """The ids int64 (K,) and scores float (K,) of the answers with a score above 0, K 1 or more; else 0 and 0."""
        found = {i: score for answer, score in scores(answers).items() for i in self._alike.get(answer, ())}
        return torch.tensor([*found] or [0]), torch.tensor([*found.values()] or [0.0])


def most_frequent(answers: Sequence[str]) -> str:
    """The answer that most annotators gave, as they wrote it; the first of them at a tie."""
    return Counter(answer.strip() for answer in answers).most_common(1)[0][0]
