"""A stream of an audio file, and the tags around it, which are no audio."""

from dataclasses import dataclass

ID3V1, ID3V1_EXTENDED, ID3V2, APE_TAG = 128, 227, 10, 32  # bytes of a tag, or of its header


class InvalidAudioError(Exception):
    """Says why a file is no whole audio file."""


@dataclass(frozen=True)
class Stream:
    """A part of a file that libsndfile decodes by itself.

    Args:
        start: its first byte in the file.
        stop: the one after its last.
        head: bytes to put before it.
        skip: decoded samples at its beginning that come of ``head`` alone.
        least: the fewest samples that it can have, as its frames say.
        most: the most, if its frames say so; it then has no more than libsndfile finds in it.
        payload: the bytes of its samples, from which their number follows if they are not compressed.
    """

    start: int
    stop: int
    head: bytes = b""
    skip: int = 0
    least: int = 0
    most: int | None = None
    payload: int | None = None


def tag_length(data: bytes, place: int = 0) -> int:
    """The bytes of the tag (ID3, APE, Lyrics3) that begins at a place, 0 if there is none."""
    start = data[place : place + APE_TAG]
    if start.startswith(b"ID3") and len(start) >= ID3V2:
        size = sum((byte & 0x7F) << shift for byte, shift in zip(start[6:10], (21, 14, 7, 0), strict=True))
        return ID3V2 + size + (ID3V2 if start[5] & 0x10 else 0)
    if start.startswith(b"TAG+"):
        return ID3V1_EXTENDED
    if start.startswith(b"TAG"):
        return ID3V1
    if start.startswith(b"APETAGEX") and len(start) == APE_TAG:
        return APE_TAG + int.from_bytes(start[12:16], "little")
    if start.startswith(b"LYRICSBEGIN"):
        ends = [data.find(mark, place) for mark in (b"LYRICS200", b"LYRICSEND")]
        return max(ends) + len(b"LYRICS200") - place if max(ends) >= 0 else 0
    return 0


def after_tags(data: bytes, place: int = 0) -> int:
    """The first byte from a place on that belongs neither to a tag nor to zeros, which some programs leave."""
    while place < len(data):
        zeros = len(data) - place - len(data[place:].lstrip(b"\0")) if data[place] == 0 else 0
        length = zeros or tag_length(data, place)
        if not length:
            break
        place += length
    return min(place, len(data))


def before_tags(data: bytes) -> int:
    """Where the tags at the end of a file begin.

    Args:
        data: the end of the file.
    """
    stop = len(data)
    if data[-ID3V1:].startswith(b"TAG") and stop >= ID3V1:
        stop -= ID3V1
    footer = data[max(0, stop - APE_TAG) : stop]
    if footer.startswith(b"APETAGEX"):
        stop -= int.from_bytes(footer[12:16], "little") + (APE_TAG if footer[23] & 0x80 else 0)
    return stop
