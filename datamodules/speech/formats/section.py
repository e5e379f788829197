"""A stream of a file as a file of its own."""

import io
import os
from typing import IO, Any

from typing_extensions import override

from datamodules.speech.formats.stream import Stream

BUFFER = 1 << 14  # bytes


class Section(io.RawIOBase):
    """The bytes of a stream: its head, and its part of the file.

    Args:
        file: the file.
        stream: where the stream is in it.
    """

    def __init__(self, file: IO[bytes], stream: Stream) -> None:
        self._file = file
        self._stream = stream
        self._place = 0

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        length = len(self._stream.head) + self._stream.stop - self._stream.start
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: length}[whence]
        self._place = max(0, base + offset)  # a damaged file may lead before its beginning
        return self._place

    @override
    def readinto(self, buffer: Any) -> int:
        head = self._stream.head[self._place : self._place + len(buffer)]
        if not head:
            start = self._stream.start + self._place - len(self._stream.head)
            self._file.seek(start)
            head = self._file.read(max(0, min(len(buffer), self._stream.stop - start)))
        buffer[: len(head)] = head
        self._place += len(head)
        return len(head)


def open_section(file: IO[bytes], stream: Stream) -> io.BufferedReader:
    """A stream as a file that is read in larger parts."""
    return io.BufferedReader(Section(file, stream), BUFFER)
