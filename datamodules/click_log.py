"""Click logs from CSV or Parquet files: a label, numerical and categorical features in each row."""

import glob
import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from numpy.typing import NDArray
from torch.utils.data import Dataset
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor
from typing_extensions import override

from datamodules.clicks.columns import ClickColumns
from datamodules.clicks.parser import Layout
from datamodules.clicks.preparation import Preparation
from datamodules.clicks.settings import Columns, Encoding, LogFiles
from datamodules.clicks.splits import Portion
from datamodules.clicks.unknown import unknown_report
from datamodules.sources.near_root import near_root
from sextant.data_spec import DataSpec
from sextant.datamodule import BaseDataModule
from sextant.errors import InputError
from sextant.loaders import TimedDataLoader
from sextant.samplers.fixed.even import EvenBatches

SEPARATOR = "|"  # between the values of a column of CSV that holds several


class Clicks(Dataset):
    """Batches of rows of a click log, see :class:`ClickLog`."""

    def __init__(self, columns: ClickColumns, portion: Portion) -> None:
        self.columns = columns
        self.portion = portion
        self.keys = list(columns.layout.table_sizes)

    def __len__(self) -> int:
        return self.portion.size

    def __getitem__(self, indices: NDArray[np.int64]) -> dict[str, Any]:
        """The rows of a batch.

        Args:
            indices: positions of rows, int64 (B,); ``~i`` for row ``i`` as padding.
        """
        index = np.where(indices < 0, ~indices, indices)
        rows = self.portion.rows(index)
        values, lengths = self.columns.ids(rows)
        batch = {
            "dense": torch.from_numpy(self.columns.dense(rows)),
            "sparse": KeyedJaggedTensor(
                self.keys, torch.from_numpy(values), lengths=torch.from_numpy(lengths), stride=len(rows)
            ),
            "weight": torch.from_numpy((indices >= 0).astype(np.float32)),
            "index": torch.from_numpy(index),
        }
        if self.columns.labeled:
            batch["label"] = torch.from_numpy(self.columns.labels(rows).astype(np.float32))
        return batch


class ClickLog(BaseDataModule):
    """Rows of a click log: whether there was a click, numerical features, and categorical ones with embedding tables.

    The files are CSV with a header (commas; tabs in ``.tsv``; plain or gzipped) or Parquet, and are read once, into
    memory-mapped arrays in ``cache``; they are never written to. A missing value is 0 if numerical and row 0 of
    its table if categorical, and no value at all where there may be several. Categorical values are ids, and 7 is the
    same one as an integer, as a float and as the text ``7`` or ``7.0``: see :mod:`~datamodules.clicks.ids`.

    Every rank gets as many rows as the others in every step, as the exchange of embeddings between ranks needs it. In
    training, an incomplete last batch of an epoch is dropped. In evaluation every row comes once, and a last batch that
    the ranks cannot split evenly is padded with its last row, of weight 0.

    Args:
        root: the folder that the files are in.
        files: the files of each split.
        columns: the columns of the files.
        encoding: how values become inputs of a model.
        invalid_samples: ``error`` stops at an invalid line and names it; ``skip`` leaves invalid lines out and warns.
        cache: folder for the arrays.
        batch_size: training rows per step over all processes.
        eval_batch_size: rows per step of an evaluation, over all processes.
        shuffle: whether training rows come in a new random order in each epoch; otherwise in that of the log.
        num_workers: processes that gather batches ahead, per training process; 0 gathers in the training process.
        seed: seed of the order and the dropouts; set by ``seed_everything``.

    Batch: ``dense`` float32 (B, D); ``sparse`` a KeyedJaggedTensor with a key for each table, int32 values and
    lengths; ``label`` float32 (B,), 0 or 1, absent in ``predict`` where the file has none; ``weight`` float32 (B,), 1,
    or 0 for padding; ``index`` int64 (B,), the positions of the rows in their split.
    """

    free_settings = BaseDataModule.free_settings | {
        "root", "cache", "files.predict", "invalid_samples", "eval_batch_size"
    }  # fmt: skip
    model_settings = frozenset({"columns", "encoding"})

    #: Names of the columns of files without a header.
    header: ClassVar[list[str] | None] = None
    #: Whether single values are hexadecimal numbers.
    hexadecimal: ClassVar[bool] = False
    #: What the arrays in the cache are named after.
    cache_name: ClassVar[str] = "clicks"

    def __init__(
        self,
        root: str,
        files: LogFiles,
        columns: Columns,
        encoding: Encoding = Encoding(),
        invalid_samples: Literal["error", "skip"] = "error",
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
        self.files = files
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.shuffle = shuffle
        self.invalid_samples = invalid_samples
        #: For each categorical feature, the rows of its table: every id of a batch is 0 or more and below.
        self.table_sizes = dict(columns.table_sizes)
        #: The numerical features, in order.
        self.dense_features = list(columns.dense)
        for key, size in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size)):
            if size < 1:
                raise InputError(f"data.{key} is {size}; it must be 1 or more.")
        layout = Layout(
            columns.label,
            tuple(columns.dense),
            self.table_sizes,
            frozenset(columns.multi_valued),
            SEPARATOR,
            encoding.mapping,
            self.hexadecimal,
            encoding.dense_transform,
        )
        self._preparation = Preparation(layout, encoding.min_count, files.rule)
        self._sets: dict[str, Clicks] = {}

    @override
    def setup(self, stage: str) -> None:
        """Open the rows that ``stage`` needs, after making the arrays if they are not there.

        Raises:
            InputError: a file is missing or damaged, a line is invalid, or a split has no rows.
        """
        if stage == "predict" and self.files.predict is not None:
            within = self.root / self.files.predict
            self._sets["predict"] = self._open_predicted(within if within.is_file() else Path(self.files.predict))
            _report_unknown(self._sets["predict"].columns, "predict")
            return
        columns = self.open()
        for split, stages in {"train": ["fit"], "val": ["fit", "validate"], "test": ["test", "predict"]}.items():
            if stage in stages:
                portion = columns.portions.get(split)
                if portion is None or not portion.size:
                    file = "data.files.predict, which is one file" if stage == "predict" else f"data.files.{split}"
                    raise InputError(
                        f"{self.root}: there are no rows for {split!r}. Name {file}, or give a larger fraction in "
                        "data.files.fractions."
                    )
                self._sets["predict" if stage == "predict" else split] = Clicks(columns, portion)
                if stage != "fit":
                    _report_unknown(columns, split)

    @override
    def prediction_example(self) -> list[str]:
        columns = self._sets["val"].columns
        test = columns.portions.get("test")
        if test is not None and test.size:
            return []
        return [f"--data.files.predict={self._found(self.files.val or self.files.train)[0]}"]

    def open(self) -> ClickColumns:
        """Open the rows of the training, validation and test files."""
        files = {split: self._found(patterns) for split, patterns in self.files.by_split.items()}
        return ClickColumns(
            files, self._preparation, self.header, True, self.cache, self.cache_name, self.invalid_samples
        )

    def _open_predicted(self, file: Path) -> Clicks:
        if not file.is_file():
            raise InputError(f"{file}: there is no such file, neither here nor in {self.root} (data.files.predict).")
        counted = self._preparation.layout.mapping == "vocabulary"
        preparation = Preparation(
            self._preparation.layout,
            self._preparation.min_count,
            self._preparation.rule,
            self.open().folder if counted else None,
        )
        columns = ClickColumns(
            {"predict": [file]}, preparation, self.header, False, self.cache, self.cache_name, self.invalid_samples
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
        near = near_root(self.root, pattern)
        return f"{self.root / pattern}: there is no such file.{near} Check data.root and the names of the files."

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
        rows = self._sets[self.running_split()]
        return rows.columns.names(rows.portion.rows(batch["index"].cpu().numpy()))


def _report_unknown(columns: ClickColumns, split: str) -> None:
    """Say what fraction of the values of a split are unknown, and warn of columns without a value that is known."""
    counts = columns.unknown.get(split, {})
    if not any(values for values, _ in counts.values()):
        return
    rank_zero_info(unknown_report(counts, split))
    lost = [column for column, (values, unknown) in counts.items() if values and values == unknown]
    if lost:
        rank_zero_warn(
            f"No value of {', '.join(lost)} in the {split} rows is in the vocabulary of the training rows. Are they "
            "written as in the training files?"
        )


def _by_number(path: str) -> list[str | int]:
    """Sorts ``day_2`` before ``day_10``."""
    return [int(piece) if i % 2 else piece for i, piece in enumerate(re.split(r"([0-9]+)", path))]
