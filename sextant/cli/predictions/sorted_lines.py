"""Numbered lines, sorted on disk: many of them take no more memory than few."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

HELD = 2**25  # bytes of lines that a process has in memory
OVERHEAD = 150  # bytes that Python adds to a line
MERGED = 100  # files that are read at a time
SUFFIX = ".lines"

Line = tuple[int, bytes]


class NumberedLines:
    """Lines that a process writes, in any order of their numbers.

    This is the first half of an external merge sort, :class:`SortedLines` the second. Lines are held, sorted and
    appended to a file while their numbers ascend; where they go back, another file is begun. Lines that come in order
    are one file, however many they are.

    Args:
        folder: holds nothing else ending in ``.lines`` than what the processes of this run write there.
        name: of this process.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._held: list[Line] = []
        self._bytes = 0
        self._files = 0
        self._last = float("inf")

    def add(self, number: int, line: bytes) -> None:
        """Add a line.

        Args:
            number: its place among all lines of all processes.
            line: without a line break.

        Raises:
            OSError: lines could not be written.
        """
        self._held.append((number, line))
        self._bytes += len(line) + OVERHEAD
        if self._bytes >= HELD:
            self.flush()

    def flush(self) -> None:
        """Write what is held.

        Raises:
            OSError: it could not be written.
        """
        if not self._held:
            return
        self._held.sort(key=itemgetter(0))
        self._files += self._held[0][0] < self._last
        _append(self._folder / f"{self._name}-{self._files}{SUFFIX}", self._held)
        self._last = self._held[-1][0]
        self._held, self._bytes = [], 0


class SortedLines:
    """The lines of all processes in the order of their numbers; each pass over them reads the files anew.

    Args:
        folder: of :class:`NumberedLines`; all of them are flushed.

    Raises:
        OSError: files, more than can be read at a time, could not be merged.
    """

    def __init__(self, folder: Path) -> None:
        self._files = sorted(folder.glob(f"*{SUFFIX}"))
        merges = 0
        while len(self._files) > MERGED:
            first, self._files = self._files[:MERGED], self._files[MERGED:]
            merged = folder / f"merged-{merges}{SUFFIX}"
            _append(merged, _merge(first))
            for file in first:
                file.unlink()
            self._files.append(merged)
            merges += 1

    def __iter__(self) -> Iterator[bytes]:
        return (line for _, line in _merge(self._files))


def _append(path: Path, lines: Iterable[Line]) -> None:
    with path.open("ab") as file:
        file.writelines(b"%d\t%s\n" % line for line in lines)


def _merge(paths: Sequence[Path]) -> Iterator[Line]:
    with ExitStack() as files:
        opened = [files.enter_context(path.open("rb")) for path in paths]
        yield from heapq.merge(*map(_read, opened), key=itemgetter(0))


def _read(file: BinaryIO) -> Iterator[Line]:
    for text in file:
        number, _, line = text[:-1].partition(b"\t")
        yield int(number), line
