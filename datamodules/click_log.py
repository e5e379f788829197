"""Logs of clicks, rows of a label, numbers and categories, from CSV or Parquet files."""

import glob
import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor
from typing_extensions import override

from datamodules.clicks.columns import ClickColumns
from datamodules.clicks.parser import DenseTransform, Layout, ValueMapping
from datamodules.clicks.preparation import Preparation
from datamodules.clicks.splits import Portion, SplitRule
from sextant.data_spec import DataSpec
from sextant.datamodule import BaseDataModule
from sextant.errors import InputError
from sextant.loaders import TimedDataLoader
from sextant.samplers.even import EvenBatches

SEPARATOR = "|"  # between the values of a column of CSV that holds several


class Clicks(Dataset):
    """Batches of rows of a click log, see :class:`ClickLog`."""

    def __init__(self, columns: ClickColumns, portion: Portion) -> None:
        self.columns = columns
        self.portion = portion
        self.keys = list(columns.layout.table_sizes)

    def __len__(self) -> int:
        return self.portion.size

    def __getitem__(self, places: NDArray[np.int64]) -> dict[str, Any]:
        """Gather a batch.

        Args:
            places: of rows, int64 (B,); ``~i`` for row ``i`` where it only fills the batch up.
        """
        index = np.where(places < 0, ~places, places)
        rows = self.portion.rows(index)
        values, lengths = self.columns.ids(rows)
        batch = {
            "dense": torch.from_numpy(self.columns.dense(rows)),
            "sparse": KeyedJaggedTensor(
                self.keys, torch.from_numpy(values), lengths=torch.from_numpy(lengths), stride=len(rows)
            ),
            "weight": torch.from_numpy((places >= 0).astype(np.float32)),
            "index": torch.from_numpy(index),
        }
        if self.columns.labeled:
            batch["label"] = torch.from_numpy(self.columns.labels(rows).astype(np.float32))
        return batch


class ClickLog(BaseDataModule):
    """Rows of a click log: whether there was a click, numbers, and categories that are looked up in tables.

    The files are CSV with a header (commas; tabs in ``.tsv``; plain or gzipped) or Parquet, and are read once, into
    memory-mapped arrays in ``cache``; they are never written to. A value that is missing is 0 as a number and row 0 of
    its table as a category, and no value at all where there may be several.

    Every rank gets as many rows as the others in every step, as the exchange of embeddings between ranks needs it. In
    training, the rows that make up no whole batch at the end of an epoch are left out. In evaluation every row comes
    once, and a last batch that the ranks cannot share evenly is filled up with its last row, of weight 0.

    Args:
        root: the folder that the files are in.
        train: training files, as paths or patterns (``day_*``) relative to ``root``, in the order of the log.
        val: files for validation. Without these and ``test``, the training files are split.
        test: files for tests.
        predict: a file for ``predict``, which may lack the labels; without it, the rows for tests are predicted.
        label: the column of the clicks, 0 or 1.
        dense: columns of numbers.
        table_sizes: columns of categories, with the rows of the table that each is looked up in.
        multi_valued: those of them that hold several values: in CSV text with ``|`` between the values, in Parquet
            lists.
        split: how training files are split. ``chronological``: the first rows are for training, the last for tests;
            ``random``: by chance, the same for every seed.
        fractions: shares of the rows for training, validation and tests.
        mapping: how values become rows of a table. ``hash``: by a hash of the value; ``dictionary``: the most frequent
            ones of the training rows have a row of their own, and row 0 stands for all others; ``ids``: values are row
            numbers already.
        min_count: values that training rows have less often are not in the dictionary.
        dense_transform: what is done to numbers. ``log1p``: log(1 + max(x, 0)); ``log3``: log(x + 3); ``none``.
        unreadable: ``error`` stops at a bad line and names it; ``skip`` leaves bad lines out and warns.
        cache: folder for the arrays.
        batch_size: training rows per step over all processes.
        eval_batch_size: rows per step of an evaluation, over all processes.
        shuffle: whether training rows come in a new random order in each epoch; otherwise in that of the log.
        num_workers: processes that gather batches ahead, per training process; 0 gathers in the training process.
        seed: seed of the order and the dropouts; set by ``seed_everything``.

    Batch: ``dense`` float32 (B, D); ``sparse`` a KeyedJaggedTensor with a key for each table, int32 values and
    lengths; ``label`` float32 (B,), 0 or 1, absent in ``predict`` where the file has none; ``weight`` float32 (B,), 1,
    or 0 for a row that fills a batch up; ``index`` int64 (B,), the places of the rows in their split.
    """

    free_settings = BaseDataModule.free_settings | {
        "root", "cache", "predict", "unreadable", "eval_batch_size"
    }  # fmt: skip

    #: Names of the columns of files without a header.
    columns: ClassVar[list[str] | None] = None
    #: Whether single values are hexadecimal numbers.
    hexadecimal: ClassVar[bool] = False
    #: What the arrays in the cache are named after.
    cache_name: ClassVar[str] = "clicks"

    def __init__(
        self,
        root: str,
        train: list[str],
        label: str,
        dense: list[str],
        table_sizes: dict[str, int],
        multi_valued: Sequence[str] = (),
        val: Sequence[str] = (),
        test: Sequence[str] = (),
        predict: str | None = None,
        split: Literal["chronological", "random"] = "chronological",
        fractions: Sequence[float] = (0.8, 0.1, 0.1),
        mapping: ValueMapping = "hash",
        min_count: int = 1,
        dense_transform: DenseTransform = "none",
        unreadable: Literal["error", "skip"] = "error",
        cache: str = "data/cache",
        batch_size: int = 2048,
        eval_batch_size: int = 16384,
        shuffle: bool = True,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(num_workers, seed)
        self.root = Path(root)
        self.cache = Path(cache)
        self.files = {"train": list(train), "val": list(val), "test": list(test)}
        self.predict = None if predict is None else Path(predict)
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.shuffle = shuffle
        self.unreadable = unreadable
        #: For each categorical feature, the rows of its table: every id of a batch is 0 or more and below.
        self.table_sizes = dict(table_sizes)
        #: The numerical features, in order.
        self.dense_features = list(dense)
        for key in ("batch_size", "eval_batch_size"):
            if getattr(self, key) < 1:
                raise InputError(f"data.{key} is {getattr(self, key)}; it must be 1 or more.")
        if min_count < 1:
            raise InputError(f"data.min_count is {min_count}; it must be 1 or more.")
        if not self.files["train"]:
            raise InputError("There are no training files: name some in data.train.")
        if self.files["test"] and not self.files["val"]:
            raise InputError("data.test names files and data.val none. Name files in both, or in neither.")
        self._check_columns(label, multi_valued)
        layout = Layout(
            label,
            tuple(dense),
            self.table_sizes,
            frozenset(multi_valued),
            SEPARATOR,
            mapping,
            self.hexadecimal,
            dense_transform,
        )
        self._preparation = Preparation(layout, min_count, SplitRule(split, tuple(fractions)))
        self._sets: dict[str, Clicks] = {}

    def _check_columns(self, label: str, multi_valued: Sequence[str]) -> None:
        names = [label, *self.dense_features, *self.table_sizes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError(
                f"The column {twice[0]!r} is named more than once in data.label, data.dense and data.table_sizes."
            )
        if not self.table_sizes:
            raise InputError("There are no categories: name at least one column with its table in data.table_sizes.")
        for name, rows in self.table_sizes.items():
            if not 2 <= rows < 2**31:
                raise InputError(f"data.table_sizes.{name} is {rows}; a table has 2 rows or more, below 2**31.")
        for name in multi_valued:
            if name not in self.table_sizes:
                raise InputError(f"data.multi_valued names {name!r}, which is not in data.table_sizes.")

    @override
    def setup(self, stage: str) -> None:
        """Open the rows that ``stage`` needs, after making the arrays if they are not there.

        Raises:
            InputError: a file is missing or damaged, a line is bad, or a split has no rows.
        """
        if stage == "predict" and self.predict is not None:
            self._sets["predict"] = self._open_predicted(self.predict)
            return
        columns = self.open()
        for split, stages in {"train": ["fit"], "val": ["fit", "validate"], "test": ["test", "predict"]}.items():
            if stage in stages:
                portion = columns.portions.get(split)
                if portion is None or not portion.size:
                    raise InputError(
                        f"{self.root}: there are no rows for {split!r}. Name files in data.{split}, or give a larger "
                        "share of data.fractions."
                    )
                self._sets["predict" if stage == "predict" else split] = Clicks(columns, portion)

    def open(self) -> ClickColumns:
        """Open the rows of the training, validation and test files."""
        files = {split: self._found(patterns) for split, patterns in self.files.items() if patterns}
        return ClickColumns(files, self._preparation, self.columns, True, self.cache, self.cache_name, self.unreadable)

    def _open_predicted(self, file: Path) -> Clicks:
        if not file.is_file():
            raise InputError(f"{file}: there is no such file (data.predict).")
        counted = self._preparation.layout.mapping == "dictionary"
        preparation = Preparation(
            self._preparation.layout,
            self._preparation.min_count,
            self._preparation.rule,
            self.open().folder if counted else None,
        )
        columns = ClickColumns(
            {"predict": [file]}, preparation, self.columns, False, self.cache, self.cache_name, self.unreadable
        )
        return Clicks(columns, columns.portions["predict"])

    def _found(self, patterns: Sequence[str]) -> list[Path]:
        """The files that patterns name; those of one pattern by the numbers in their names."""
        found = []
        for pattern in patterns:
            whole = self.root / pattern
            if whole.is_file():
                found.append(whole)
                continue
            matching = glob.glob(os.path.join(glob.escape(str(self.root)), pattern))  # noqa: PTH207 - takes any path
            files = sorted(filter(os.path.isfile, matching), key=_by_number)
            if not files:
                raise InputError(self.missing(pattern))
            found += map(Path, files)
        return found

    def missing(self, pattern: str) -> str:
        """What is said if no file matches a pattern."""
        return f"{self.root / pattern}: there is no such file. Check data.root and the names of the files."

    def data_spec(self) -> DataSpec:
        """The sizes of the tables and the names of the numerical features; known before ``setup``."""
        return DataSpec(table_sizes=self.table_sizes, dense_features=tuple(self.dense_features))

    @override
    def input_description(self) -> dict[str, Any]:
        """The columns in the order of the model's inputs, and how their values are changed."""
        layout = self._preparation.layout
        return {
            "dense": list(layout.dense),
            "dense_transform": layout.dense_transform,
            "categories": list(layout.table_sizes),
            "mapping": layout.mapping,
        }

    @override
    def train_dataloader(self) -> TimedDataLoader:
        train = self._sets["train"]
        order = partial(EvenBatches, len(train), self.batch_size, shuffle=self.shuffle, last_batch="drop")
        return self.loader(train, training=True, order=order)

    @override
    def val_dataloader(self) -> TimedDataLoader:
        return self._evaluation_loader("val")

    @override
    def test_dataloader(self) -> TimedDataLoader:
        return self._evaluation_loader("test")

    @override
    def predict_dataloader(self) -> TimedDataLoader:
        return self._evaluation_loader("predict")

    def _evaluation_loader(self, split: str) -> TimedDataLoader:
        rows = self._sets[split]
        order = partial(
            EvenBatches,
            len(rows),
            self.eval_batch_size,
            shuffle=False,
            last_batch="pad",
            setting="data.eval_batch_size",
        )
        return self.loader(rows, order=order)

    @override
    def sample_names(self, batch: dict[str, Any]) -> list[str]:
        assert self.trainer is not None
        trainer = self.trainer
        split = (
            "train" if trainer.training else "test" if trainer.testing else "predict" if trainer.predicting else "val"
        )
        rows = self._sets[split]
        return rows.columns.names(rows.portion.rows(batch["index"].cpu().numpy()))


def _by_number(path: str) -> list[str | int]:
    """Sorts ``day_2`` before ``day_10``."""
    return [int(piece) if i % 2 else piece for i, piece in enumerate(re.split(r"([0-9]+)", path))]
