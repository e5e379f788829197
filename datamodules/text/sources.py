"""Where the lines of a text corpus come from: plain-text files, or a set of Hugging Face datasets."""

import hashlib
import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from typing_extensions import override

from datamodules.sources.hub import load_splits
from datamodules.sources.near_root import near_root
from sextant.errors import InputError
from sextant.files.text_file import byte_lines, sized_lines

SPLITS = ("train", "val", "test")
#: The names that a split's file may have: plain, and those of the published WikiText archives.
FILE_NAMES = {
    "train": ("train.txt", "wiki.train.tokens"),
    "val": ("valid.txt", "wiki.valid.tokens"),
    "test": ("test.txt", "wiki.test.tokens"),
}
#: The names that a split may have in a set of Hugging Face datasets.
SET_NAMES = {"train": ("train",), "val": ("validation", "valid", "val", "dev"), "test": ("test",)}
#: Fractions of the lines of a single file that become the splits, in order.
FRACTIONS = {"train": 0.9, "val": 0.05, "test": 0.05}
ROWS = 1000  # of a set that are read at a time


class TextSource(ABC):
    """The lines of the splits of a corpus.

    Args:
        name: by which a person finds the corpus.
    """

    #: Where a corpus without splits may be instead, as a sentence.
    instead: str = ""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    @abstractmethod
    def splits(self) -> Mapping[str, str]:
        """The splits that there are, with the name by which a person finds each."""

    @abstractmethod
    def lines(self, split: str) -> Iterator[tuple[str, int]]:
        """The lines of a split, each with its part of :meth:`size`."""

    @abstractmethod
    def size(self, split: str) -> int:
        """How much there is to read of a split, for progress bars: bytes or rows."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Changes when the text changes."""


class TextFiles(TextSource):
    """UTF-8 text files: a folder with one for each split, or a single one whose lines are divided into splits.

    Args:
        root: a folder that holds ``train.txt``, ``valid.txt``, ``test.txt`` or ``wiki.train.tokens`` and so on; or a
            text file, whose first 90 % of lines are for training, the next 5 % for validation, the last 5 % for tests.

    Raises:
        InputError: there is nothing at ``root``, or the folder holds no training text.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(str(root))
        self._ranges: dict[str, tuple[Path, int, int, int]] = {}  # file, first byte, byte after the last, first line
        if root.is_file():
            self._divide(root)
            return
        if not root.is_dir():
            raise InputError(
                f"{root}: there is no such folder or file (data.root). Get WikiText-2 from the Hugging Face hub with "
                "--data.dataset=Salesforce/wikitext, give a folder with train.txt, valid.txt and test.txt or a text "
                "file with --data.root, or try the program on generated text first: add --config "
                "configs/synthetic/transformer_wikitext2.yaml (--data.synthetic=true with a model of its size)."
            )
        for split, names in FILE_NAMES.items():
            found = [root / name for name in names if (root / name).is_file()]
            if found:
                self._ranges[split] = (found[0], 0, found[0].stat().st_size, 1)
        if not self._ranges:
            self.instead = near_root(root, *(name for names in FILE_NAMES.values() for name in names))

    def _divide(self, file: Path) -> None:
        count = sum(1 for _ in byte_lines(file))
        last_lines = [round(fraction * count) for fraction in itertools.accumulate(FRACTIONS.values())]
        start, first, lines = 0, 1, byte_lines(file)
        for split, last in zip(FRACTIONS, last_lines, strict=True):
            stop = start + sum(len(line) for line in itertools.islice(lines, last - first + 1))
            self._ranges[split] = (file, start, stop, first)
            start, first = stop, last + 1

    @property
    @override
    def splits(self) -> Mapping[str, str]:
        return {split: str(file) for split, (file, *_) in self._ranges.items()}

    @override
    def size(self, split: str) -> int:
        _, start, stop, _ = self._ranges[split]
        return stop - start

    @override
    def lines(self, split: str) -> Iterator[tuple[str, int]]:
        return sized_lines(*self._ranges[split])

    @property
    @override
    def fingerprint(self) -> str:
        parts = [
            [split, str(file.resolve()), start, stop, file.stat().st_mtime_ns]
            for split, (file, start, stop, _) in self._ranges.items()
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class DatasetText(TextSource):
    """A set of Hugging Face datasets with a column ``text``, each row of which is a line or several.

    Args:
        name: of a set on the hub, or a folder that ``save_to_disk`` wrote or that holds Parquet or Arrow files.
        config: which configuration of a set on the hub.
        cache: folder for sets that were converted to Arrow; downloads are in the Hugging Face hub's own (HF_HOME).

    Raises:
        InputError: the set cannot be loaded, or has no column ``text``.
    """

    def __init__(self, name: str, config: str | None, cache: Path) -> None:
        super().__init__(name if config is None or Path(name).is_dir() else f"{name}, {config}")
        self._rows: dict[str, Any] = {}
        found = load_splits(name, config, cache, "or give text files with --data.root")
        for split, names in SET_NAMES.items():
            for set_name in names:
                if set_name in found and split not in self._rows:
                    self._rows[split] = found[set_name]
        for split, rows in self._rows.items():
            if "text" not in rows.column_names:
                raise InputError(
                    f"{name}: the split {split!r} has no column 'text' but {', '.join(rows.column_names)} "
                    "(data.dataset). Rename the column that holds the lines."
                )
            kind = rows.features["text"]
            if getattr(kind, "dtype", None) not in ("string", "large_string"):
                raise InputError(f"{name}: the column 'text' of the split {split!r} holds no text but {kind}.")

    @property
    @override
    def splits(self) -> Mapping[str, str]:
        return {split: f"{self.name} ({rows.split or split})" for split, rows in self._rows.items()}

    @override
    def size(self, split: str) -> int:
        return len(self._rows[split])

    @override
    def lines(self, split: str) -> Iterator[tuple[str, int]]:
        """The lines of a split.

        Raises:
            InputError: a row is empty (null).
        """
        for start, batch in enumerate(self._rows[split].select_columns("text").iter(ROWS)):
            for number, row in enumerate(batch["text"], start * ROWS):
                if row is None:
                    raise InputError(f"{self.splits[split]}: row {number} of the column 'text' is null. Leave it out.")
                first, *more = row.removesuffix("\n").split("\n")
                yield first, 1
                yield from ((line, 0) for line in more)

    @property
    @override
    def fingerprint(self) -> str:
        return hashlib.sha256(
            json.dumps({split: rows._fingerprint for split, rows in self._rows.items()}).encode()
        ).hexdigest()
