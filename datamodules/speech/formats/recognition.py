"""Which format an audio file has, whatever its name says, and which streams are in it."""

import os
from typing import IO

from datamodules.speech.formats.chunks import FORMATS, au_stream, chunk_stream
from datamodules.speech.formats.flac import flac_stream
from datamodules.speech.formats.mpeg import is_mpeg, mpeg_streams
from datamodules.speech.formats.ogg import ogg_streams
from datamodules.speech.formats.stream import InvalidAudioError, Stream, tag_length

HEAD = 16  # bytes


def find_streams(file: IO[bytes]) -> list[Stream]:
    """The streams of an audio file, in order; together they hold all its samples.

    Args:
        file: open for reading.

    Raises:
        InvalidAudioError: it is in none of the formats, truncated, or has parts that belong to no stream.
        OSError: it cannot be read.
    """
    size = file.seek(0, os.SEEK_END)
    start = 0
    while (head := _read(file, start, HEAD)).startswith(b"ID3"):
        start += tag_length(head) or size
    mark = head[:4]
    if mark == b"fLaC":
        return [flac_stream(file, start, size)]
    if mark == b"OggS":
        return ogg_streams(_read(file, 0, size), start)
    if start or is_mpeg(mark):
        return mpeg_streams(_read(file, 0, size))
    if mark in (b".snd", b"dns."):
        return [au_stream(file, size, mark)]
    if mark in FORMATS:
        return [chunk_stream(file, size, mark)]
    raise InvalidAudioError("it is no recording (Format not recognised): convert it to FLAC or WAV")


def _read(file: IO[bytes], start: int, count: int) -> bytes:
    file.seek(start)
    return file.read(count)
