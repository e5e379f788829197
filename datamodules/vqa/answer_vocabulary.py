"""The answers that a model can choose from, and what they are worth for a question."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from datamodules.vqa.scoring import normalize, scores
from sextant.errors import InputError

UNKNOWN = "<unk>"


class AnswerVocabulary:
    """Answers by number; number 0 is ``<unk>``, which stands for all others.

    Args:
        answers: the answers, each once, ``<unk>`` first.
    """

    def __init__(self, answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self._number = {answer: number for number, answer in enumerate(answers)}
        #: The numbers of the answers with the same normal form.
        self._alike: dict[str, list[int]] = defaultdict(list)
        for number, answer in enumerate(answers[1:], 1):
            self._alike[normalize(answer)].append(number)

    @classmethod
    def read(cls, file: Path) -> "AnswerVocabulary":
        """Read a file with one answer a line, ``<unk>`` first, such as MMF's ``answers_textvqa_more_than_1.txt``.

        Raises:
            InputError: the file is missing or not UTF-8, ``<unk>`` is not first, or an answer is empty or there twice.
        """
        try:
            lines = file.read_bytes().decode().removeprefix("\ufeff").removesuffix("\n").split("\n")
        except OSError as error:
            raise InputError(
                f"{file}: cannot be read ({error.strerror}; data.answers). Give a file with one answer a line, "
                f"{UNKNOWN} first, or leave it out to take the training answers."
            ) from error
        except UnicodeDecodeError as error:
            raise InputError(f"{file}: not UTF-8 at byte {error.start} (data.answers). Convert the file.") from error
        answers = [line.strip() for line in lines]
        if UNKNOWN not in answers[:1]:
            found = f"its first line is {answers[0]!r}" if any(answers) else "it is empty"
            raise InputError(
                f"{file}: {found}; it must be {UNKNOWN}, which stands for all other answers (data.answers). Put it "
                "there."
            )
        line_of: dict[str, int] = {}
        for number, answer in enumerate(answers, 1):
            if not answer:
                raise InputError(f"{file}:{number}: the answer is empty (data.answers). Remove the line.")
            if answer in line_of:
                raise InputError(
                    f"{file}:{number}: {answer!r} is there already, in line {line_of[answer]} (data.answers). Remove "
                    "one of the two."
                )
            line_of[answer] = number
        return cls(answers)

    @classmethod
    def build(cls, questions: Iterable[Sequence[str]], min_count: int) -> "AnswerVocabulary":
        """Take the answers that most annotators gave to at least ``min_count`` questions, the most frequent first.

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
                f"data.min_count is {min_count}, but no answer is the most frequent one of so many training questions. "
                "Lower it."
            )
        return cls([UNKNOWN, *(answer for _, answer in frequent)])

    def label(self, answers: Sequence[str]) -> int:
        """The number of the answer that most annotators gave (the first of them at a tie), 0 if it is not here."""
        answer = most_frequent(answers)
        return self._number.get(answer) or self._alike.get(normalize(answer), [0])[0]

    def scores(self, answers: Sequence[str]) -> tuple[Tensor, Tensor]:
        """The numbers int64 (K,) and scores float (K,) of all answers here that are worth something, K 1 or more."""
        worth = {number: value for answer, value in scores(answers).items() for number in self._alike.get(answer, ())}
        return torch.tensor([*worth] or [0]), torch.tensor([*worth.values()] or [0.0])


def most_frequent(answers: Sequence[str]) -> str:
    """The answer that most annotators gave, as they wrote it; the first of them at a tie."""
    return Counter(answer.strip() for answer in answers).most_common(1)[0][0]
