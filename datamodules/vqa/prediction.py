"""The questions that ``predict`` answers."""

from dataclasses import dataclass
from pathlib import Path

from datamodules.vqa.annotations import read_rows
from datamodules.vqa.questions import ImageFiles, QuestionSet
from sextant.errors import InputError


@dataclass(frozen=True)
class Prediction:
    """An image with a question, or a file of many; without either, the test split is answered.

    Args:
        image: an image to ask ``question`` about.
        question: the question.
        questions: a CSV or JSON lines file with ``image`` and ``question`` in each row.

    Raises:
        InputError: an image without a question, a question without an image, or more than one of the two ways.
    """

    image: str | None = None
    question: str | None = None
    questions: str | None = None

    def __post_init__(self) -> None:
        if (self.image is None) != (self.question is None) or (self.questions is not None and self.image is not None):
            raise InputError(
                "Give either --data.prediction.image and --data.prediction.question, or --data.prediction.questions "
                "with a file of many."
            )

    def read(self) -> QuestionSet | None:
        """The questions, None if neither is given.

        Raises:
            InputError: the file is missing or malformed.
        """
        if self.questions is not None:
            return read_rows(Path(self.questions), labeled=False)
        if self.image is None or self.question is None:
            return None
        return QuestionSet(self.image, [self.image], [self.question], [[]], [[]], ImageFiles([Path(self.image)]))
