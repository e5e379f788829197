"""A stream of a file as a file of its own."""

import io
import os
from typing import IO

from typing_extensions import override

from datamodules.speech.formats.stream import Stream
from sextant.files.file_part import FilePart

BUFFER = 1 << 14  # bytes


class Section(FilePart):
    """The bytes of a stream; what a damaged file says may lead before its beginning, and means the beginning then."""

    @override
    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        try:
            return super().seek(offset, whence)
        except OSError:
            return super().seek(0)


def open_section(file: IO[bytes], stream: Stream) -> io.BufferedReader:
    """A stream as a file that is read in larger parts."""
    return io.BufferedReader(Section(file, stream.start, stream.stop, stream.head), BUFFER)
