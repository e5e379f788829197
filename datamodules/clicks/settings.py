"""The settings of a click log: its files, its columns, and how their values are encoded."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from datamodules.clicks.parser import DenseTransform, ValueMapping
from datamodules.clicks.splits import SplitRule
from sextant.errors import InputError


@dataclass(frozen=True)
class LogFiles:
    """The files of each split, as paths or patterns (``day_*``) relative to the data set's folder.

    Args:
        train: training files in the order of the log.
        val: validation files. Without these and ``test``, the training files are split.
        test: test files.
        predict: a file for ``predict``, in the root or anywhere, which may lack the labels; without it, the test rows
            are predicted.
        split: how training files are split. ``chronological``: the first rows are for training, the last for tests;
            ``random``: at random, the same for every seed.
        fractions: fractions of the rows for training, validation and tests, which sum to 1.

    Raises:
        InputError: there are no training files, test files without validation files, or wrong fractions.
    """

    train: Sequence[str] = ()
    val: Sequence[str] = ()
    test: Sequence[str] = ()
    predict: str | None = None
    split: Literal["chronological", "random"] = "chronological"
    fractions: Sequence[float] = (0.8, 0.1, 0.1)

    def __post_init__(self) -> None:
        if not self.train:
            raise InputError("There are no training files: name some in data.files.train.")
        if self.test and not self.val:
            raise InputError("data.files.test names files and data.files.val none. Name files in both, or in neither.")
        _ = self.rule

    @property
    def rule(self) -> SplitRule:
        """How training files are split."""
        return SplitRule(self.split, tuple(self.fractions))

    @property
    def by_split(self) -> dict[str, list[str]]:
        """The files of the splits that have some."""
        files = {"train": self.train, "val": self.val, "test": self.test}
        return {split: list(patterns) for split, patterns in files.items() if patterns}


@dataclass(frozen=True)
class Columns:
    """The columns of a click log.

    Args:
        label: the column of the clicks, 0 or 1.
        dense: numerical columns.
        table_sizes: categorical columns, with the number of rows of the table of each.
        multi_valued: those of them that hold several values: in CSV text with ``|`` between the values, in Parquet
            lists.

    Raises:
        InputError: a column is named twice, there is no categorical one, or a table's size is out of range.
    """

    label: str
    dense: Sequence[str] = ()
    table_sizes: dict[str, int] = field(default_factory=dict)
    multi_valued: Sequence[str] = ()

    def __post_init__(self) -> None:
        names = [self.label, *self.dense, *self.table_sizes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError(f"The column {twice[0]!r} is named more than once in label, dense and table_sizes.")
        if not self.table_sizes:
            raise InputError("There are no categorical columns: name at least one with its table in table_sizes.")
        for name, rows in self.table_sizes.items():
            if not 2 <= rows < 2**31:
                raise InputError(f"table_sizes.{name} is {rows}; a table has 2 rows or more, below 2**31.")
        for name in self.multi_valued:
            if name not in self.table_sizes:
                raise InputError(f"multi_valued names {name!r}, which is not in table_sizes.")


@dataclass(frozen=True)
class Encoding:
    """How values become inputs of a model.

    Args:
        mapping: how categorical values become rows of a table. ``hash``: by a hash of the value; ``vocabulary``: the
            most frequent values of the training rows have a row of their own, and row 0 stands for all others; ``ids``:
            values are row ids already.
        min_count: values that fewer training rows have are not in the vocabulary.
        dense_transform: what is done to numerical values. ``log1p``: log(1 + max(x, 0)), as facebookresearch/dlrm does
            for Criteo's Kaggle set; ``log3``: log(x + 3), as torchrec does for Criteo's 1TB set; ``none``.

    Raises:
        InputError: ``min_count`` is below 1.
    """

    mapping: ValueMapping = "hash"
    min_count: int = 1
    dense_transform: DenseTransform = "none"

    def __post_init__(self) -> None:
        if self.min_count < 1:
            raise InputError(f"data.encoding.min_count is {self.min_count}; it must be 1 or more.")
