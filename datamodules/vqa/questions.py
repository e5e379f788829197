"""Questions about images: a split of a data set, and which of its rows can be used."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from tqdm import tqdm

from datamodules.images.image_file import InvalidImageError, read_image
from datamodules.sources.invalid_samples import cached_reasons, report_invalid_samples
from sextant.atomic_folder import fingerprint
from sextant.errors import InputError


class Images(Protocol):
    """The images of the rows of a split."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int) -> Path | bytes:
        """An image's file, or its contents."""

    def select(self, rows: Sequence[int]) -> "Images":
        """The images of some of the rows."""

    @property
    def fingerprint(self) -> str:
        """Changes when they do."""


class ImageFiles:
    """Images in files, of which several rows may have the same.

    Args:
        files: the file of each row.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = list(files)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, row: int) -> Path:
        return self._files[row]

    def select(self, rows: Sequence[int]) -> "ImageFiles":
        """The images of some of the rows."""
        return ImageFiles([self._files[row] for row in rows])

    @property
    def fingerprint(self) -> str:
        """A hash of their names, sizes and times of change."""
        files = [Path(os.path.abspath(file)) for file in self._files]
        return fingerprint(files, os.path.commonpath([file.parent for file in files]), "images")


class ImageColumn:
    """Images in the column ``image`` of a Hugging Face data set.

    Args:
        rows: the data set, its images not decoded.
    """

    def __init__(self, rows: Any) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> Path | bytes:
        image = self._rows[row]["image"]
        if image is None:
            return b""  # which is no image
        return Path(image["path"]) if image["bytes"] is None else image["bytes"]

    def select(self, rows: Sequence[int]) -> "ImageColumn":
        """The images of some of the rows."""
        return ImageColumn(self._rows.select(rows))

    @property
    def fingerprint(self) -> str:
        """That of the data set."""
        return hashlib.sha256(self._rows._fingerprint.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class QuestionSet:
    """Questions, each with its image.

    Args:
        name: by which a person finds the set, such as its file.
        names: by which a person finds each row, such as its file and line.
        questions: the texts.
        answers: what the annotators answered to each; none where they are not known.
        ocr: the words that were recognized in each image.
        images: the images.
    """

    name: str
    names: list[str]
    questions: list[str]
    answers: list[list[str]]
    ocr: list[list[str]]
    images: Images

    def __len__(self) -> int:
        return len(self.questions)

    def source(self, row: int) -> str:
        """The file of a row's image, or where the row is, if the image has no file of its own."""
        return str(self.images[row]) if isinstance(self.images, ImageFiles) else self.names[row]

    def valid(self, cache: Path | None, labeled: bool, invalid_samples: Literal["error", "skip"]) -> "QuestionSet":
        """The rows that can be used. Every image is decoded once.

        Args:
            cache: folder in which the reasons of invalid images are kept; None does not keep them.
            labeled: whether rows need answers.
            invalid_samples: ``error`` stops at invalid rows and names them; ``skip`` leaves them out and warns.

        Raises:
            InputError: there are invalid rows and ``invalid_samples`` is ``error``, or no row is valid.
        """
        if labeled and not any(self.answers):
            raise InputError(
                f"{self.name}: none of its questions has an answer, so there is nothing to learn from or to measure. "
                "'predict' answers questions without."
            )
        reasons = cached_invalid_images(self.name, self.images, cache) if cache else invalid_images(self.images)
        for row, (question, answers) in enumerate(zip(self.questions, self.answers, strict=True)):
            if not question.strip():
                reasons[row] = "the question is empty"
            elif labeled and not answers:
                reasons[row] = "there is no answer to the question"
        named = {self.names[row]: reason for row, reason in sorted(reasons.items())}
        report_invalid_samples(named, len(self), f"questions of {self.name}", invalid_samples)
        if not reasons:
            return self
        if len(reasons) == len(self):
            raise InputError(f"{self.name}: none of its {len(self)} questions can be used.")
        rows = [row for row in range(len(self)) if row not in reasons]
        return QuestionSet(
            self.name,
            [self.names[row] for row in rows],
            [self.questions[row] for row in rows],
            [self.answers[row] for row in rows],
            [self.ocr[row] for row in rows],
            self.images.select(rows),
        )


def invalid_images(images: Images) -> dict[int, str]:
    """The rows whose images are invalid, with the reason for each: every file or row is decoded once."""
    asked = range(len(images))
    first: dict[Path | int, int] = {}  # row of each file; images in a column are told apart by their rows
    rows = [first.setdefault(images[row] if isinstance(images, ImageFiles) else row, row) for row in asked]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        checked = pool.map(partial(_why_invalid, images), first.values())
        reasons = dict(zip(first.values(), tqdm(checked, "Checking images", len(first), unit="image"), strict=True))
    return {row: reason for row in asked if (reason := reasons[rows[row]])}


def cached_invalid_images(name: str, images: Images, cache: Path) -> dict[int, str]:
    """The same, kept until the images change.

    Args:
        name: of the set and split, which may be in one folder with others.
        images: the images.
        cache: folder for what is known of all data sets.
    """
    key = hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
    return cached_reasons(cache / f"images-{key}", images.fingerprint, partial(invalid_images, images))


def _why_invalid(images: Images, row: int) -> str | None:
    image = images[row]
    with suppress(OSError):  # of a name that is too long, as reading it will say
        if isinstance(image, Path) and not image.is_file():
            return f"there is no image {image}"
    if image == b"":
        return "there is no image"
    try:
        read_image(image)
    except InvalidImageError as error:
        return f"the image {image} cannot be read: {error}" if isinstance(image, Path) else f"image: {error}"
    return None
