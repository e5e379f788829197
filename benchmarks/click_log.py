"""How fast Criteo's files become arrays, in how much memory, and how fast batches are read from them.

Run it from the project's folder: ``python -m benchmarks.click_log --help``.
"""

import argparse
import gzip
import logging
import shutil
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

from benchmarks.machine import describe
from benchmarks.runner import in_own_process, named, positive
from datamodules.clicks.settings import Encoding, LogFiles
from datamodules.criteo import DENSE, VALUES, Criteo
from sextant.cli.command import run_command
from sextant.memory import peak_memory

PIECE = 100_000  # rows that are drawn together
HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
MISSING = 0.1  # share of counts and of categories


@dataclass(frozen=True)
class Figures:
    """What was measured of a number of rows.

    Args:
        prepare: rows made into arrays per second.
        megabytes: the peak of memory above what was in use before, in MB.
        read: rows per second in shuffled batches.
        size: of the file in MB.
    """

    prepare: float
    megabytes: float
    read: float
    size: float


def write(file: Path, rows: int) -> None:
    """Write generated rows in the format of Criteo's ``train.txt``, with as many values as the real ones have.

    How often a value comes falls as in Zipf's law.
    """
    random = np.random.default_rng(0)
    options = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    with file.open("wb") as out:
        for start in range(0, rows, PIECE):
            count = min(PIECE, rows - start)
            columns = [pa.array(random.integers(0, 2, count))]
            for _ in DENSE:
                counts = np.floor(np.exp(random.normal(1.5, 1.5, count))).astype(np.int64)
                columns.append(pa.array(counts, mask=random.random(count) < MISSING))
            for table, values in enumerate(VALUES.values()):
                ranks = np.floor(np.exp(random.random(count) * np.log(values))).astype(np.uint64)
                columns.append(_hexadecimal(ranks, table, random.random(count) < MISSING))
            csv.write_csv(pa.table(columns, names=["label", *DENSE, *VALUES]), out, options)


def _hexadecimal(ranks: NDArray[np.uint64], table: int, missing: NDArray[np.bool_]) -> pa.Array:
    """Names of eight digits for values, the same for the same ones."""
    spread = (ranks * np.uint64(0x9E3779B1) + np.uint64(table)) & np.uint64(0xFFFFFFFF)
    digits = HEX[(spread[:, None] >> np.arange(28, -1, -4, dtype=np.uint64)) & np.uint64(15)]
    texts = pa.Array.from_buffers(pa.binary(8), len(ranks), [None, pa.py_buffer(np.ascontiguousarray(digits))])
    return pc.if_else(pa.array(missing), None, texts.cast(pa.binary()).cast(pa.string()))


def measure(file: Path, mapping: str, batch_size: int, steps: int) -> Figures:
    """Prepare a file and read batches from it, in a process that has done nothing else."""
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory(dir=file.parent, prefix="cache_") as cache:
        warm_up(Path(cache))
        data = Criteo(
            root=str(file.parent),
            files=LogFiles(train=[file.name]),
            encoding=Encoding(mapping=mapping, dense_transform="log1p"),  # type: ignore[arg-type]
            cache=cache,
            batch_size=batch_size,
        )
        before = peak_memory()
        start = time.perf_counter()
        rows = len(data.open())
        seconds = time.perf_counter() - start
        megabytes = peak_memory() - before
        data.setup("fit")
        return Figures(rows / seconds, megabytes, read(data, steps), file.stat().st_size / 1e6)


def warm_up(cache: Path) -> None:
    """Prepare a few rows, so that what libraries do once is not counted."""
    few = cache / "few" / "train.txt"
    few.parent.mkdir()
    write(few, 1000)
    Criteo(root=str(few.parent), cache=str(cache)).open()


def read(data: Criteo, steps: int) -> float:
    """Rows per second in shuffled batches, over at most so many steps, in one process."""
    loader = data.train_dataloader()
    rows = 0
    start = time.perf_counter()
    for _, batch in zip(range(steps), loader, strict=False):
        rows += len(batch["index"])
    return rows / (time.perf_counter() - start)


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.click_log",
        description="Make generated rows in Criteo's format into arrays, and read shuffled batches from them: rows per "
        "second, and the peak of memory above what was in use before.",
    )
    parser.add_argument(
        "--rows",
        nargs="+",
        type=positive,
        default=[8_000, 1_000_000, 10_000_000],
        help="how many, for each measurement (default: 8 thousand, 1 million and 10 million, 2.3 GB)",
    )
    parser.add_argument("--mapping", choices=["hash", "vocabulary"], default="vocabulary", help="default: %(default)s")
    parser.add_argument("--gzip", action="store_true", help="gzip the files")
    parser.add_argument("--batch-size", type=positive, default=2048, help="default: %(default)s")
    parser.add_argument("--steps", type=positive, default=2000, help="batches to read at most (default: %(default)s)")
    return parser.parse_args(args)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark.

    Args:
        arguments: the words of the command line; those of this process if None.
    """
    args = parse(arguments)
    print(describe(named(None, "drawn rows in Criteo's format")), flush=True)
    print(f"{'rows':>12} {'MB':>8} {'prepared/s':>12} {'peak MB':>8} {'read/s':>12}", flush=True)
    for rows in args.rows:
        with tempfile.TemporaryDirectory(prefix="click_log_") as folder:
            file = Path(folder) / "train.txt"
            write(file, rows)
            if args.gzip:
                with file.open("rb") as plain, gzip.open(f"{file}.gz", "wb", compresslevel=6) as packed:
                    shutil.copyfileobj(plain, packed)
                file.unlink()
                file = Path(f"{file}.gz")
            found = in_own_process(measure, file, args.mapping, args.batch_size, args.steps)
        print(
            f"{rows:12,} {found.size:8,.0f} {found.prepare:12,.0f} {found.megabytes:8,.0f} {found.read:12,.0f}",
            flush=True,
        )


if __name__ == "__main__":
    run_command(main, "no figures")
