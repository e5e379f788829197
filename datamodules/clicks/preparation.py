"""The files of a click log made into arrays, with all processors and in bounded memory."""

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from datamodules.clicks.keys import Keys, hashed_rows
from datamodules.clicks.parser import Layout, Rows, parse
from datamodules.clicks.reader import PARQUET, Block, ClickFile
from datamodules.clicks.splits import Portion, SplitRule
from datamodules.clicks.unknown import Splits, count_unknown, splits_of
from datamodules.clicks.vocabulary import Vocabulary, frequent_keys
from sextant.errors import InputError

FORMAT = 3  # of the folder; arrays of another format are made anew
ROWS = 2**18  # that are mapped through the vocabularies at a time
SPLITS = "splits.bin"  # the number of each row's split, while values are counted
NAMED = 10  # invalid lines that a message names
ADVICE = "Correct the line, or leave such lines out with --data.invalid_samples=skip."


@dataclass(frozen=True)
class Preparation:
    """What becomes of the files of a click log.

    Args:
        layout: the columns.
        min_count: values that training rows have less often are left out of the vocabularies.
        rule: how rows are split where there are training files alone.
        vocabularies: a folder of prepared arrays whose vocabularies are used instead of counting.
    """

    layout: Layout
    min_count: int
    rule: SplitRule
    vocabularies: Path | None = None

    @property
    def settings(self) -> str:
        """What the arrays depend on besides the files."""
        layout = asdict(self.layout) | {"multi_valued": sorted(self.layout.multi_valued)}
        parts: list[Any] = [FORMAT, layout]
        if self.layout.mapping == "vocabulary":
            parts += [self.min_count, self.rule.how, list(self.rule.fractions), str(self.vocabularies)]
        return json.dumps(parts)


def row_name(path: Path, line: int) -> str:
    """By which a person finds a row: the file and the line, or in Parquet the position of the row, from 1 on."""
    return f"{path}, row {line}" if path.suffix == PARQUET else f"{path}:{line}"


def rows_of_splits(counts: Mapping[str, int], rows: Sequence[int]) -> dict[str, int]:
    """The rows of each split.

    Args:
        counts: how many files each split has.
        rows: how many rows each file has.
    """
    files = iter(rows)
    return {split: sum(next(files) for _ in range(count)) for split, count in counts.items()}


def build(
    files: Sequence[ClickFile],
    counts: Mapping[str, int],
    preparation: Preparation,
    invalid_samples: Literal["error", "skip"],
    folder: Path,
) -> Path:
    """Make the arrays of a click log.

    In ``folder`` there are then, row by row, ``label.bin`` (uint8, if all files have labels), ``dense.bin`` (float32)
    and ``ids.bin`` (int32, the tables with one value); for each table with several values ``ids-<table>.bin`` (int32)
    and ``ends-<table>.bin`` (int64, where the values of a row end); ``vocabulary-<table>.npy``, if there are
    vocabularies; ``skipped.npy`` (int64, file and line of each invalid line) and ``contents.json``.

    Args:
        files: in the order of the log.
        counts: how many of them each split has.
        preparation: what becomes of them.
        invalid_samples: whether to stop at an invalid line or to leave it out.
        folder: to be filled.

    Returns:
        ``folder``.

    Raises:
        InputError: a file cannot be read, or a line is invalid and must not be left out.
    """
    layout = preparation.layout
    labeled = all(layout.label in file.columns for file in files)
    rows = [0] * len(files)
    named: list[str] = []
    skipped: list[NDArray[np.int64]] = [np.empty((0, 2), np.int64)]
    with ExitStack() as stack:
        writer = _Writer(folder, layout, labeled, stack)
        for part in _parts(files, layout):
            invalid = part.rows.invalid_rows
            path = files[part.file].path
            if invalid and invalid_samples == "error":
                line, why = next(iter(invalid.items()))
                raise InputError(f"{row_name(path, line)}: {why}. {ADVICE}")
            named += [f"{row_name(path, line)}: {why}" for line, why in invalid.items()][: NAMED - len(named)]
            skipped.append(np.array([[part.file, line] for line in invalid], np.int64).reshape(-1, 2))
            rows[part.file] += len(part.rows.dense)
            writer.write(part)
    portions = preparation.rule.portions(rows_of_splits(counts, rows))
    unknown = _map(folder, preparation, sum(rows), portions) if layout.mapping == "vocabulary" else {}
    every = np.concatenate(skipped)
    np.save(folder / "skipped.npy", every)
    contents = {
        "rows": rows,
        "first_lines": [2 if file.has_header else 1 for file in files],
        "labeled": labeled,
        "skipped": len(every),
        "invalid_rows": named,
        "unknown": {
            split: {column: of_column[:, place].tolist() for column, of_column in unknown.items()}
            for place, split in enumerate(portions)
        },
    }
    (folder / "contents.json").write_text(json.dumps(contents))
    return folder


@dataclass(frozen=True)
class _Part:
    """A block as it is written, with the rows of the tables or the keys that stand for them."""

    rows: Rows
    file: int
    size: int
    ids: dict[str, NDArray[Any]]


class _Writer:
    """Appends rows to the arrays in a folder."""

    def __init__(self, folder: Path, layout: Layout, labeled: bool, stack: ExitStack) -> None:
        self._layout = layout
        names = ["dense", *(["label"] if labeled else [])]
        tables = {name: table for table, name in enumerate(layout.table_sizes)}
        counted = layout.mapping == "vocabulary"
        names += [f"keys-{table}" for table in tables.values()] if counted else ["ids"]
        names += [f"ends-{tables[name]}" for name in layout.multi_valued]
        names += [] if counted else [f"ids-{tables[name]}" for name in layout.multi_valued]
        self._files: dict[str, IO[bytes]] = {
            name: stack.enter_context((folder / f"{name}.bin").open("wb")) for name in names
        }
        self._ends = dict.fromkeys(layout.multi_valued, 0)

    def write(self, part: _Part) -> None:
        self._files["dense"].write(part.rows.dense.data)
        if "label" in self._files:
            assert part.rows.labels is not None
            self._files["label"].write(part.rows.labels.data)
        for table, name in enumerate(self._layout.table_sizes):
            if f"keys-{table}" in self._files:
                self._files[f"keys-{table}"].write(part.ids[name].data)
            elif name in self._layout.multi_valued:
                self._files[f"ids-{table}"].write(part.ids[name].data)
            if name in self._layout.multi_valued:
                ends = self._ends[name] + part.rows.lengths[name].cumsum()
                self._files[f"ends-{table}"].write(ends.data)
                self._ends[name] += int(part.rows.lengths[name].sum())
        if "ids" in self._files:
            _write_single(self._files["ids"], part.ids, self._layout)


def _write_single(out: IO[bytes], ids: dict[str, NDArray[np.int32]], layout: Layout) -> None:
    """Append the rows of the tables with one value, row by row."""
    single = [ids[name] for name in layout.single_valued]
    if single:
        out.write(np.stack(single, 1).data)


def _parts(files: Sequence[ClickFile], layout: Layout) -> Iterator[_Part]:
    """Parse all files with all processors, with few blocks in memory at a time, and give the parts in order."""
    workers = torch.get_num_threads()
    total = sum(file.path.stat().st_size for file in files)
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(total=total, desc="Preparing clicks", unit="B", unit_scale=True, delay=1) as bar,
    ):
        waiting: deque[Future[_Part]] = deque()
        try:
            for number, file in enumerate(files):
                for block in file.blocks():
                    waiting.append(pool.submit(_part, block, number, file, layout))
                    if len(waiting) > workers:
                        part = waiting.popleft().result()
                        yield part
                        bar.update(part.size)
            while waiting:
                part = waiting.popleft().result()
                yield part
                bar.update(part.size)
        finally:
            pool.shutdown(cancel_futures=True)


def _part(block: Block, number: int, file: ClickFile, layout: Layout) -> _Part:
    rows = parse(block, file, layout)
    ids: dict[str, NDArray[Any]] = {}
    for name, keys in rows.keys.items():
        match layout.mapping:
            case "hash":
                ids[name] = hashed_rows(keys, layout.table_sizes[name])
            case "ids":
                ids[name] = np.maximum(keys, 1).astype(np.int64).astype(np.int32) - np.int32(1)
            case _:
                ids[name] = keys
    return _Part(rows, number, block.size, ids)


def _map(
    folder: Path, preparation: Preparation, total: int, portions: Mapping[str, Portion]
) -> dict[str, NDArray[np.int64]]:
    """Count the values of the training rows, and put rows of the tables in the place of keys.

    Returns:
        By column, as of :func:`~datamodules.clicks.unknown.count_unknown`.
    """
    layout = preparation.layout
    with (folder / SPLITS).open("wb") as out:
        for start in range(0, total, ROWS):
            out.write(splits_of(portions, np.arange(start, min(start + ROWS, total))).data)
    vocabularies = _vocabularies(folder, preparation)
    unknown = dict.fromkeys(layout.table_sizes, np.zeros((2, len(portions)), np.int64))

    def mapped(name: str, keys: Keys, splits: Splits) -> NDArray[np.int32]:
        ids = vocabularies[name].rows(keys)
        unknown[name] = unknown[name] + count_unknown(splits, keys, ids, len(portions))
        return ids

    tables = {name: table for table, name in enumerate(layout.table_sizes)}
    with ThreadPoolExecutor(torch.get_num_threads()) as pool, (folder / "ids.bin").open("wb") as out:
        for start in tqdm(range(0, total, ROWS), desc="Mapping values", unit="block", delay=1):
            splits = np.fromfile(folder / SPLITS, np.uint8, ROWS, offset=start)
            ids = pool.map(
                lambda name, s=start, of=splits: mapped(name, _keys(folder, tables[name], s, ROWS), of),
                layout.single_valued,
            )
            _write_single(out, dict(zip(layout.single_valued, ids, strict=True)), layout)
    for name, table in tables.items():
        if name in layout.multi_valued:
            with (folder / f"ids-{table}.bin").open("wb") as out:
                for keys, splits in _keys_by_rows(folder, table, several=True):
                    out.write(mapped(name, keys, splits).data)
        (folder / f"keys-{table}.bin").unlink()
    (folder / SPLITS).unlink()
    return unknown


def _vocabularies(folder: Path, preparation: Preparation) -> dict[str, Vocabulary]:
    """The vocabulary of each column, which is kept in ``folder``."""
    layout = preparation.layout
    vocabularies = {}
    for table, name in enumerate(tqdm(layout.table_sizes, desc="Counting values", unit="column", delay=1)):
        if preparation.vocabularies is not None:
            keys = np.load(preparation.vocabularies / f"vocabulary-{table}.npy")
        else:
            chunks = partial(_training_keys, folder, table, name in layout.multi_valued)
            keys = frequent_keys(chunks, preparation.min_count, layout.table_sizes[name] - 1)
        np.save(folder / f"vocabulary-{table}.npy", keys)
        vocabularies[name] = Vocabulary(keys)
    return vocabularies


def _keys(folder: Path, table: int, start: int, count: int) -> Keys:
    """Some keys of a column. Memory that is mapped would grow with the file."""
    return np.fromfile(folder / f"keys-{table}.bin", np.uint64, count, offset=start * 8)


def _keys_by_rows(folder: Path, table: int, several: bool) -> Iterator[tuple[Keys, Splits]]:
    """The keys of a column and the number of the split of each, those of some rows at a time."""
    start = first = 0
    while len(splits := np.fromfile(folder / SPLITS, np.uint8, ROWS, offset=start)):
        if several:
            ends = np.fromfile(folder / f"ends-{table}.bin", np.int64, len(splits), offset=start * 8)
            keys = _keys(folder, table, first, int(ends[-1]) - first)
            yield keys, np.repeat(splits, np.diff(ends, prepend=first))
            first = int(ends[-1])
        else:
            yield _keys(folder, table, start, len(splits)), splits
        start += len(splits)


def _training_keys(folder: Path, table: int, several: bool) -> Iterator[Keys]:
    """The keys of a column in the training rows, some at a time."""
    for keys, splits in _keys_by_rows(folder, table, several):
        yield keys[splits == 0]  # training is the first of the splits
