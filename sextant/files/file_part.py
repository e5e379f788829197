"""A part of a file as a file of its own."""

import io
import os
from typing import IO, Any

from typing_extensions import override


class FilePart(io.RawIOBase):
    """Bytes of a file from one place to another; torch's own such class seeks the wrong way from its end.

    Args:
        file: the file.
        start: where the part begins.
        stop: where it ends.
        head: bytes in front of it.

    Raises:
        OSError: in ``seek``, if it leads before the beginning.
    """

    def __init__(self, file: IO[bytes], start: int, stop: int, head: bytes = b"") -> None:
        self._file: Any = file
        self._start = start
        self._stop = stop
        self._head = head
        self._place = 0

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        length = len(self._head) + self._stop - self._start
        place = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: length}[whence] + offset
        if place < 0:
            raise OSError("there is nothing before the beginning")
        self._place = place
        return place

    @override
    def readinto(self, buffer: Any, /) -> int:
        head = self._head[self._place : self._place + len(buffer)]
        if head:
            buffer[: len(head)] = head
            read = len(head)
        else:
            start = self._start + self._place - len(self._head)
            self._file.seek(start)
            read = self._file.readinto(memoryview(buffer)[: max(self._stop - start, 0)])
        self._place += read
        return read
