"""Ogg: the streams that follow one another in a file, each of them whole (RFC 3533)."""

import struct
import zlib
from dataclasses import dataclass, field

from datamodules.speech.formats.stream import InvalidAudioError, Stream, after_tags

PAGE = struct.Struct("<4sBBqIIIB")  # mark, version, flags, position, stream, number, check sum, segments
FIRST, LAST = 0x02, 0x04  # flags of a stream's first and last page
CHECK_SUM = slice(22, 26)
AUDIO = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ", b"fLaC")
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass
class _Link:
    """Streams that begin together: one of audio, perhaps with others.

    Args:
        start: its first byte.
        next_page: for each stream, the number of its next page.
        audio: the streams of audio.
        ended: the streams whose last page was seen.
        begun: pages beyond the first of each stream were seen.
    """

    start: int
    next_page: dict[int, int] = field(default_factory=dict)
    audio: list[int] = field(default_factory=list)
    ended: set[int] = field(default_factory=set)
    begun: bool = False

    def add(self, flags: int, serial: int, number: int, body: bytes, where: int) -> None:
        """Take a page in, and see that none is missing before it."""
        if flags & FIRST:
            self.next_page[serial] = number
            if body.startswith(AUDIO):
                self.audio.append(serial)
        else:
            self.begun = True
        if self.next_page.get(serial) != number:
            raise InvalidAudioError(f"it is damaged: pages are missing before byte {where:,}")
        self.next_page[serial] += 1
        if flags & LAST:
            self.ended.add(serial)

    def stream(self, stop: int) -> Stream:
        """The link as a stream that ends before a byte."""
        if len(self.audio) != 1:
            raise InvalidAudioError(
                f"it has {len(self.audio)} audio streams at the same time, and must have one: convert it to FLAC or WAV"
            )
        if self.audio[0] not in self.ended:
            raise InvalidAudioError("it is truncated: the last page of its stream is missing")
        return Stream(self.start, stop)


def ogg_streams(data: bytes, place: int) -> list[Stream]:
    """The streams of an Ogg file, which may follow one another (chained).

    Args:
        data: the file.
        place: where its first page begins, after tags.

    Raises:
        InvalidAudioError: a page is damaged or missing, or something is neither a page nor a tag.
    """
    streams: list[Stream] = []
    link = _Link(place)
    while data.startswith(b"OggS", place):
        flags, serial, number, body, stop = _page(data, place)
        if flags & FIRST and link.begun:
            streams.append(link.stream(place))
            link = _Link(place)
        link.add(flags, serial, number, body, place)
        place = stop
    if after_tags(data, place) < len(data):
        raise InvalidAudioError(f"it is damaged: what begins at byte {place:,} is no page of Ogg")
    return [*streams, link.stream(place)]


def _page(data: bytes, place: int) -> tuple[int, int, int, bytes, int]:
    """The flags, stream, number and body of a page, and where it stops."""
    body = place + PAGE.size
    if body > len(data):
        raise InvalidAudioError(f"it is truncated in the page at byte {place:,}")
    _, _, flags, _, serial, number, check_sum, segments = PAGE.unpack_from(data, place)
    body += segments
    stop = body + sum(data[body - segments : body])
    if stop > len(data):
        raise InvalidAudioError(f"it is truncated in the page at byte {place:,}")
    page = bytearray(data[place:stop])
    page[CHECK_SUM] = bytes(4)
    if _check_sum(page) != check_sum:
        raise InvalidAudioError(f"it is damaged in the page at byte {place:,}, whose check sum is wrong")
    return flags, serial, number, data[body:stop], stop


def _check_sum(page: bytearray) -> int:
    """Ogg's CRC-32, which is zlib's with the bits of bytes and sum in the other order, from 0 and not inverted."""
    mirrored = zlib.crc32(page.translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(REVERSED), "big")
