"""Batches of questions about images: decoded images, token ids, answer ids and scores."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2.functional import pil_to_tensor

from datamodules.images.image_file import InvalidImageError, read_image
from datamodules.vqa.answer_vocabulary import AnswerVocabulary
from datamodules.vqa.questions import QuestionSet
from sextant.errors import InputError
from sextant.padding import pad_right


class VisualQuestions(Dataset):
    """Batches of questions.

    A batch has ``image``, B images of different sizes as :func:`pack_images` has them; ``question``, a pair of token
    ids int64 (B, T), padded on the right with 0, and their lengths int64 (B,); ``text``, a list of B questions;
    ``index`` int64 (B,); and with a vocabulary ``label`` int64 (B,), ``answers`` and ``scores``, as
    :class:`AnswerVocabulary` has them, padded, and ``annotators``, a list of B lists of answers.

    Args:
        rows: the questions.
        tokens: token ids of each, int64 (T,).
        vocabulary: the answers to choose from; None where answers are not known.
    """

    def __init__(self, rows: QuestionSet, tokens: list[NDArray[np.int64]], vocabulary: AnswerVocabulary | None) -> None:
        self.rows = rows
        self.tokens = tokens
        self.vocabulary = vocabulary

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The lengths of the questions in tokens, int64 (N,)."""
        return np.array([len(tokens) for tokens in self.tokens])

    def __getitem__(self, indices: list[int]) -> dict[str, Any]:
        batch = pad_right([self._texts(index) for index in indices])
        batch["image"] = pack_images([self._image(index) for index in indices])
        if self.vocabulary is not None:
            batch["annotators"] = [self.rows.answers[index] for index in indices]
        return batch

    def _texts(self, index: int) -> dict[str, Any]:
        example = {
            "question": torch.from_numpy(self.tokens[index]),
            "text": self.rows.questions[index],
            "index": index,
        }
        if self.vocabulary is not None:
            answers, scores = self.vocabulary.scores(self.rows.answers[index])
            label = self.vocabulary.label(self.rows.answers[index])
            example |= {"label": label, "answers": answers, "scores": scores}
        return example

    def _image(self, index: int) -> Tensor:
        try:
            return pil_to_tensor(read_image(self.rows.images[index]))
        except InvalidImageError as error:
            raise InputError(
                f"{self.rows.names[index]}: the image has changed since it was checked: {error}."
            ) from error


def pack_images(images: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Images of different sizes in one tensor.

    A list of tensors would take a shared file for each of them on the way from a worker, of which there may be few.

    Args:
        images: B images uint8 (3, H, W).

    Returns:
        Their pixels, uint8 (N,), one after the other, and their heights and widths, int64 (B, 2).
    """
    return torch.cat([image.flatten() for image in images]), torch.tensor([p.shape[1:] for p in images])


def unpack_images(pixels: Tensor, sizes: Tensor) -> list[Tensor]:
    """The images that :func:`pack_images` packed."""
    shapes = [(3, height, width) for height, width in sizes.tolist()]
    return [part.reshape(shape) for part, shape in zip(pixels.split([*map(math.prod, shapes)]), shapes, strict=True)]
