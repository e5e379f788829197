"""A click log in memory-mapped arrays, made once and read in any order."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import numpy as np
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from numpy.typing import NDArray

from datamodules.clicks.preparation import ADVICE, NAMED, Preparation, build, row_name, rows_of_splits
from datamodules.clicks.reader import ClickFile, open_click_file
from datamodules.clicks.splits import Portion
from sextant.atomic_folder import fingerprint, make_current
from sextant.errors import InputError


class ClickColumns:
    """The rows of a click log in memory-mapped arrays.

    The arrays are made on first use, by all processors and in memory that depends neither on the number of rows nor on
    that of values (see :func:`~datamodules.clicks.vocabulary.frequent_keys`), and kept in the folder
    ``<cache>/<name>-<place>-<fingerprint>``, which is complete or absent. Changed files are read anew, and the
    outdated folder is deleted.

    Args:
        files: of each split, in the order of the log.
        preparation: what becomes of them.
        columns: names of the columns of text without a header, see
            :func:`~datamodules.clicks.reader.open_click_file`.
        labeled: whether there must be labels.
        cache: folder for the arrays of all data sets.
        name: what the rows are, for people who look into ``cache``.
        invalid_samples: ``error`` stops at the first invalid line; ``skip`` leaves invalid lines out and warns.

    Raises:
        InputError: a file cannot be read or lacks a column, a line is invalid, no row is left, or there is no room for
            the arrays.
    """

    def __init__(
        self,
        files: Mapping[str, Sequence[Path]],
        preparation: Preparation,
        columns: list[str] | None,
        labeled: bool,
        cache: Path,
        name: str,
        invalid_samples: Literal["error", "skip"],
    ) -> None:
        self.layout = preparation.layout
        self.paths = [path for of_split in files.values() for path in of_split]
        opened = [open_click_file(path, columns) for path in self.paths]
        self._check_columns(opened, labeled)
        folder = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in self.paths])
        counts = {split: len(of_split) for split, of_split in files.items()}
        names = [os.path.relpath(path, folder) for path in self.paths]
        place = hashlib.sha256(json.dumps([folder, names, counts, preparation.settings]).encode()).hexdigest()[:8]
        key = fingerprint([Path(os.path.abspath(path)) for path in self.paths], folder, preparation.settings)
        try:
            self.folder = make_current(
                cache / f"{name}-{place}", key, partial(build, opened, counts, preparation, invalid_samples)
            )
        except OSError as error:
            raise InputError(
                f"{cache}: the rows of {self.paths[0]} could not be written as arrays ({error}). Nothing was kept; "
                "free some space or choose another folder with --data.cache."
            ) from error
        contents = json.loads((self.folder / "contents.json").read_text())
        self._rows_of_files: list[int] = contents["rows"]
        self._first_lines: list[int] = contents["first_lines"]
        self.labeled: bool = contents["labeled"]
        #: Where there is a vocabulary, by split and column how many values there are and how many of these are unknown.
        self.unknown: dict[str, dict[str, list[int]]] = contents["unknown"]
        _report_skipped(contents, invalid_samples)
        if not len(self):
            raise InputError(f"{self.paths[0]}: there is not one row that can be used. Give files with rows.")
        self._splits = files
        #: Of each split, its rows.
        self.portions: dict[str, Portion] = preparation.rule.portions(rows_of_splits(counts, self._rows_of_files))

    def _check_columns(self, opened: list[ClickFile], labeled: bool) -> None:
        wanted = [self.layout.label] * labeled + [*self.layout.dense, *self.layout.table_sizes]
        for file in opened:
            missing = [name for name in wanted if name not in file.columns]
            if missing:
                raise InputError(
                    f"{file.path}: there is no column {', '.join(map(repr, missing[:NAMED]))} among "
                    f"{', '.join(file.columns[:50])}. Name the columns of this file in "
                    "--data.columns.label, --data.columns.dense and --data.columns.table_sizes."
                )

    def __len__(self) -> int:
        return sum(self._rows_of_files)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_arrays"}  # a worker opens the files by itself

    @cached_property
    def _arrays(self) -> dict[str, NDArray[Any]]:
        shape = {"dense": (len(self), len(self.layout.dense)), "ids": (len(self), len(self.layout.single_valued))}
        arrays = {
            name: _open(self.folder / f"{name}.bin", kind).reshape(shape[name])
            for name, kind in (("dense", np.float32), ("ids", np.int32))
        }
        if self.labeled:
            arrays["label"] = _open(self.folder / "label.bin", np.uint8)
        for name in self.layout.multi_valued:
            table = list(self.layout.table_sizes).index(name)
            arrays[f"{name}/ids"] = _open(self.folder / f"ids-{table}.bin", np.int32)
            arrays[f"{name}/ends"] = _open(self.folder / f"ends-{table}.bin", np.int64)
        return arrays

    def labels(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The labels of some rows, uint8 (B,)."""
        return self._arrays["label"][rows]

    def dense(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The dense features of some rows, float32 (B, D)."""
        return np.take(self._arrays["dense"], rows, axis=0)

    def ids(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The rows of the tables that some rows are about, by table and then by row.

        Returns:
            All values, int32 (V,), and how many there are of each, int32 (tables * B,).
        """
        single = np.take(self._arrays["ids"], rows, axis=0).T
        if not self.layout.multi_valued:
            return single.reshape(-1), np.ones(single.size, np.int32)
        by_name = dict(zip(self.layout.single_valued, single, strict=True))
        values, lengths = [], []
        for name in self.layout.table_sizes:
            if name in by_name:
                values.append(by_name[name])
                lengths.append(np.ones(len(rows), np.int32))
                continue
            ends = self._arrays[f"{name}/ends"]
            stops = ends[rows]
            counts = stops - np.where(rows > 0, ends[rows - 1], 0)
            # Where a value stands: as far before the end of its row's as it is before theirs here.
            places = np.arange(counts.sum()) + np.repeat(stops - counts.cumsum(), counts)
            values.append(self._arrays[f"{name}/ids"][places])
            lengths.append(counts.astype(np.int32))
        return np.concatenate(values), np.concatenate(lengths)

    @cached_property
    def _skipped(self) -> NDArray[np.int64]:
        """Files and lines that were left out, (lines, 2)."""
        return np.load(self.folder / "skipped.npy")

    def names(self, rows: NDArray[np.int64]) -> list[str]:
        """By which a person finds rows: the file and the line."""
        skipped = self._skipped
        starts = np.array([0, *accumulate(self._rows_of_files)])
        found = []
        for row in rows.tolist():
            file = int(np.searchsorted(starts, row, side="right")) - 1
            invalid = skipped[skipped[:, 0] == file, 1]
            line = row - int(starts[file]) + self._first_lines[file]
            line += int(np.searchsorted(invalid - np.arange(len(invalid)), line, side="right"))
            found.append(row_name(self.paths[file], line))
        return found


def _open(file: Path, kind: type) -> NDArray[Any]:
    return np.memmap(file, kind, "r") if file.stat().st_size else np.empty(0, kind)


def _report_skipped(contents: dict[str, Any], invalid_samples: Literal["error", "skip"]) -> None:
    invalid: list[str] = contents["invalid_rows"]
    if not invalid:
        return
    if invalid_samples == "error":
        raise InputError(f"{invalid[0]}. {ADVICE}")
    named = "".join(f"\n  {row}" for row in invalid)
    more = f"\n  ... and {contents['skipped'] - len(invalid):,} more" if contents["skipped"] > len(invalid) else ""
    total = contents["skipped"] + sum(contents["rows"])
    rank_zero_warn(f"{contents['skipped']:,} of {total:,} lines cannot be used:{named}{more}\nThey are left out.")
