"""How images, questions and answers become the tensors of a batch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2.functional import InterpolationMode, resize, to_dtype

from datamodules.vqa.answer_vocabulary import AnswerVocabulary
from sextant.errors import InputError
from sextant.padding import Padded


@dataclass(frozen=True)
class Preprocessing:
    """The settings of what is done to images, questions and answers.

    Args:
        image_size: height and width in pixels that images are resized to.
        tokenizer: a ``vocab.txt`` of BERT's, a folder with a tokenizer, or a model on the Hugging Face hub.
        max_question_length: the most tokens of a question; longer ones are truncated.
        fixed_length: pad every question to ``max_question_length`` instead of the longest of its batch.
        ocr: append the words that were recognized in the image to the question, where the data set has them.
        answers: a file with the vocabulary of answers, one a line, ``<unk>`` first; by default they are those of the
            training questions.
        min_count: without such a file, the fewest training questions of which an answer is the most frequent one.

    Raises:
        InputError: a setting is out of range.
    """

    image_size: int = 224
    tokenizer: str = "facebook/flava-full"
    max_question_length: int = 512
    fixed_length: bool = False
    ocr: bool = False
    answers: str | None = None
    min_count: int = 2

    def __post_init__(self) -> None:
        for key, value, least in (
            ("min_count", self.min_count, 1),
            ("image_size", self.image_size, 1),
            ("max_question_length", self.max_question_length, 3),
        ):
            if value < least:
                raise InputError(f"data.preprocessing.{key} is {value}; it must be {least} or more.")

    def vocabulary(self, training_answers: Iterable[Sequence[str]]) -> AnswerVocabulary:
        """The vocabulary of the file, or of the annotators' answers to each training question."""
        if self.answers is not None:
            return AnswerVocabulary.read(Path(self.answers))
        return AnswerVocabulary.build(training_answers, self.min_count)

    def resized(self, images: Sequence[Tensor]) -> Tensor:
        """Images uint8 (3, H, W) of any sizes as float (B, 3, image_size, image_size) in [0, 1]."""
        size = [self.image_size, self.image_size]
        resized = [resize(image, size, InterpolationMode.BICUBIC, antialias=True) for image in images]
        return to_dtype(torch.stack(resized), torch.float32, scale=True)

    def padded(self, question: Padded) -> Padded:
        """Tokens int64 (B, T), padded to ``max_question_length`` if ``fixed_length``."""
        if not self.fixed_length:
            return question
        missing = self.max_question_length - question.data.shape[1]
        return Padded(F.pad(question.data, (0, missing)), question.lengths)
