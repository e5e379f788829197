"""Questions about pictures: a split of a data set, and which of its rows can be used."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from tqdm import tqdm

from datamodules.atomic_folder import fingerprint
from datamodules.picture_file import UnreadablePictureError, read_picture
from datamodules.unreadable import remembered_faults, report_unreadable
from trainer.errors import InputError


class Pictures(Protocol):
    """The pictures of the rows of a split."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int) -> Path | bytes:
        """A picture's file, or its contents."""

    def select(self, rows: Sequence[int]) -> "Pictures":
        """The pictures of some of the rows."""

    @property
    def fingerprint(self) -> str:
        """Changes when they do."""


class PictureFiles:
    """Pictures in files, of which several rows may have the same.

    Args:
        files: the file of each row.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = list(files)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, row: int) -> Path:
        return self._files[row]

    def select(self, rows: Sequence[int]) -> "PictureFiles":
        """The pictures of some of the rows."""
        return PictureFiles([self._files[row] for row in rows])

    @property
    def fingerprint(self) -> str:
        """A hash of their names, sizes and times of change."""
        files = [Path(os.path.abspath(file)) for file in self._files]
        return fingerprint(files, os.path.commonpath([file.parent for file in files]), "pictures")


class PictureColumn:
    """Pictures in the column ``image`` of a Hugging Face data set.

    Args:
        rows: the data set, its pictures not decoded.
    """

    def __init__(self, rows: Any) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> Path | bytes:
        picture = self._rows[row]["image"]
        if picture is None:
            return b""  # which is no picture
        return Path(picture["path"]) if picture["bytes"] is None else picture["bytes"]

    def select(self, rows: Sequence[int]) -> "PictureColumn":
        """The pictures of some of the rows."""
        return PictureColumn(self._rows.select(rows))

    @property
    def fingerprint(self) -> str:
        """That of the data set."""
        return hashlib.sha256(self._rows._fingerprint.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class QuestionSet:
    """Questions, each with its picture.

    Args:
        name: by which a person finds the set.
        places: by which a person finds each row.
        questions: the texts.
        answers: what the annotators answered to each; none where they are not known.
        ocr: the words that were recognised in each picture.
        pictures: the pictures.
    """

    name: str
    places: list[str]
    questions: list[str]
    answers: list[list[str]]
    ocr: list[list[str]]
    pictures: Pictures

    def __len__(self) -> int:
        return len(self.questions)

    def source(self, row: int) -> str:
        """The file of a row's picture, or where the row is, if the picture has no file of its own."""
        return str(self.pictures[row]) if isinstance(self.pictures, PictureFiles) else self.places[row]

    def usable(self, cache: Path | None, labelled: bool, unreadable: Literal["error", "skip"]) -> "QuestionSet":
        """Find rows that cannot be used, and leave them out if they may be.

        Every picture is decoded once.

        Args:
            cache: where it is kept what was found; None does not keep it.
            labelled: whether rows need answers.
            unreadable: ``error`` stops at rows that cannot be used and names them; ``skip`` leaves them out and warns.

        Raises:
            InputError: there are such rows, and they are to stop the run.
        """
        if labelled and not any(self.answers):
            raise InputError(
                f"{self.name}: none of its questions has an answer, so there is nothing to learn from or to measure. "
                "'predict' answers questions without."
            )
        if cache is None:
            faults = unreadable_pictures(self.pictures)
        else:
            faults = known_unreadable_pictures(self.name, self.pictures, cache)
        for row, (question, answers) in enumerate(zip(self.questions, self.answers, strict=True)):
            if not question.strip():
                faults[row] = "the question is empty"
            elif labelled and not answers:
                faults[row] = "there is no answer to the question"
        named = {self.places[row]: why for row, why in sorted(faults.items())}
        report_unreadable(named, len(self), f"questions of {self.name}", unreadable)
        if not faults:
            return self
        if len(faults) == len(self):
            raise InputError(f"{self.name}: none of its {len(self)} questions can be used.")
        rows = [row for row in range(len(self)) if row not in faults]
        return QuestionSet(
            self.name,
            [self.places[row] for row in rows],
            [self.questions[row] for row in rows],
            [self.answers[row] for row in rows],
            [self.ocr[row] for row in rows],
            self.pictures.select(rows),
        )


def unreadable_pictures(pictures: Pictures) -> dict[int, str]:
    """Decode every file or row once, and say why the pictures of which rows cannot be read."""
    asked = range(len(pictures))
    first: dict[Path | int, int] = {}  # row of each file; pictures in a column are told apart by their rows
    rows = [first.setdefault(pictures[row] if isinstance(pictures, PictureFiles) else row, row) for row in asked]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        checked = pool.map(partial(_why_unreadable, pictures), first.values())
        faults = dict(zip(first.values(), tqdm(checked, "Checking pictures", len(first), unit="picture"), strict=True))
    return {row: why for row in asked if (why := faults[rows[row]])}


def known_unreadable_pictures(name: str, pictures: Pictures, cache: Path) -> dict[int, str]:
    """The same, kept until the pictures change.

    Args:
        name: of the set and split, by which the answer is told from those for others, be they in the same folder.
        pictures: the pictures.
        cache: where the answer is kept.
    """
    key = hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
    return remembered_faults(cache / f"pictures-{key}", pictures.fingerprint, partial(unreadable_pictures, pictures))


def _why_unreadable(pictures: Pictures, row: int) -> str | None:
    picture = pictures[row]
    if isinstance(picture, Path) and not picture.is_file():
        return f"there is no picture {picture}"
    if picture == b"":
        return "there is no picture"
    try:
        read_picture(picture)
    except UnreadablePictureError as error:
        return f"the picture {picture} cannot be read: {error}" if isinstance(picture, Path) else f"picture: {error}"
    return None
