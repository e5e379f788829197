"""Files that consist of chunks (WAV, RF64, W64, AIFF, CAF), and AU: where the samples are, and what else there is."""

import struct
from dataclasses import dataclass
from typing import IO, Literal

from datamodules.speech.formats.stream import InvalidAudioError, Stream, after_tags

#: Lengths, or a header less, that programs write where they do not know the length, as when they write into a pipe.
UNKNOWN = (1 << 31, 1 << 32, 1 << 63, 1 << 64)
HEADERS, AU_HEADER = 4096, 24  # bytes
PLAIN, IN_BLOCKS = {1, 3, 6, 7}, {2, 0x11, 0x31}  # formats of WAV: with samples of a fixed size, or with blocks of such
UNCOMPRESSED_AIFF = {b"", b"NONE", b"sowt", b"twos", b"in24", b"in32", b"fl32", b"FL32", b"fl64", b"FL64"}
ROUNDED = 0.05  # of the bytes per second of blocks, which programs state in different ways
EXTENSIBLE = 0xFFFE  # the format is in the extension


@dataclass(frozen=True)
class Chunks:
    """How the chunks of a format are written.

    Args:
        first: where the first one begins.
        header: the name and the length, for ``struct``.
        samples: the name of the chunk with the samples.
        before_samples: bytes in that chunk before the first sample.
        counted: bytes of the header that the length counts.
        multiple: of bytes, at which each chunk begins.
    """

    first: int
    header: str
    samples: bytes = b"data"
    before_samples: int = 0
    counted: int = 0
    multiple: int = 2


FORMATS = {
    b"RIFF": Chunks(12, "<4sI"),
    b"RIFX": Chunks(12, ">4sI"),
    b"RF64": Chunks(12, "<4sI"),
    b"FORM": Chunks(12, ">4sI", samples=b"SSND", before_samples=8),
    b"riff": Chunks(40, "<4s12xQ", counted=24, multiple=8),
    b"caff": Chunks(8, ">4sQ", before_samples=4, multiple=1),
}


def chunk_stream(file: IO[bytes], size: int, mark: bytes) -> Stream:
    """The one stream of a file of chunks.

    Args:
        file: the file.
        size: its bytes.
        mark: its first four bytes, one of ``FORMATS``.

    Raises:
        InvalidAudioError: it is truncated, contradicts itself, or does not consist of chunks to its end.
    """
    form = FORMATS[mark]
    payload: int | None = None
    long = samples = 0  # bytes of samples that RF64's first chunk states; samples that AIFF's does
    place = form.first
    while chunk := _chunk(file, place, form):
        name, start, length = chunk
        if name == form.samples:
            if payload is not None:
                raise InvalidAudioError("it has two chunks of samples: convert it to FLAC or WAV")
            length = long if long and length == 0xFFFFFFFF else length
            length = _within(start, length, size)
            payload = max(0, length - form.before_samples)
        elif start + length > size:
            break
        elif name == b"ds64":
            long = struct.unpack("<8xQ", file.read(16).ljust(16, b"\0"))[0]
        elif name == b"COMM":
            samples = _samples_of_aiff(file.read(min(length, 22)))
        elif name == b"fmt ":
            _check_format(file.read(min(length, 40)), form.header[0])
        place = start + length
        padded = -(-place // form.multiple) * form.multiple
        place = padded if _chunk(file, padded, form) else place  # some programs leave the padding out
    if payload is None:
        raise InvalidAudioError(f"it is truncated or damaged: at byte {place:,} there is no chunk of samples")
    _refuse_more(file, place)
    return Stream(0, place, least=samples, most=samples or None, payload=payload)


def au_stream(file: IO[bytes], size: int, mark: bytes) -> Stream:
    """The one stream of an AU file.

    Args:
        file: the file.
        size: its bytes.
        mark: its first four bytes, ``.snd`` or backwards ``dns.``.

    Raises:
        InvalidAudioError: it is truncated, or something follows its samples.
    """
    file.seek(4)
    order: Literal["big", "little"] = "big" if mark == b".snd" else "little"
    start, length = (int.from_bytes(file.read(4), order) for _ in range(2))
    if not AU_HEADER <= start <= size:
        raise InvalidAudioError("its header is damaged")
    payload = _within(start, length, size)
    _refuse_more(file, start + payload)
    return Stream(0, start + payload, payload=payload)


def _chunk(file: IO[bytes], place: int, form: Chunks) -> tuple[bytes, int, int] | None:
    """The name of a chunk, where its content begins, and the length of that, None if none begins here."""
    file.seek(place)
    header = file.read(struct.calcsize(form.header))
    if len(header) < struct.calcsize(form.header):
        return None
    name, length = struct.unpack(form.header, header)
    if name in FORMATS or not all(0x20 <= byte < 0x7F for byte in name) or length < form.counted:
        return None
    return name, place + len(header), length - form.counted


def _within(start: int, length: int, size: int) -> int:
    """The length of the samples, which a program that writes into a pipe does not know.

    Raises:
        InvalidAudioError: there are fewer bytes than the header says.
    """
    there = max(0, size - start)
    if length <= there:
        return length
    if any(0 <= unknown - length <= HEADERS for unknown in UNKNOWN):
        return there
    raise InvalidAudioError(f"it is truncated: {there:,} of {length:,} bytes")


def _check_format(content: bytes, order: str) -> None:
    """Compare the numbers in WAV's format with one another.

    Args:
        content: of the chunk.
        order: of the bytes, for ``struct``.

    Raises:
        InvalidAudioError: they contradict each other.
    """
    if len(content) < 16:
        raise InvalidAudioError("its header is damaged")
    kind, channels, rate, byte_rate, align, bits = struct.unpack_from(f"{order}HHIIHH", content)
    if kind == EXTENSIBLE and len(content) >= 26:
        kind = struct.unpack_from(f"{order}H", content, 24)[0]
    right = True
    if kind in PLAIN:
        right = align == channels * -(-bits // 8) and byte_rate == rate * align
    elif kind in IN_BLOCKS and len(content) >= 20:
        samples = struct.unpack_from(f"{order}H", content, 18)[0]
        right = abs(byte_rate * samples - rate * align) <= ROUNDED * rate * align
    if not right:
        raise InvalidAudioError(
            f"its header contradicts itself: {rate:,} samples a second, {channels} channels, {bits} bits, but "
            f"{byte_rate:,} bytes a second and {align} at a time. Convert it"
        )


def _samples_of_aiff(content: bytes) -> int:
    """The number of samples that AIFF's chunk of the format states, 0 if it counts something else."""
    return int.from_bytes(content[2:6], "big") if content[18:] in UNCOMPRESSED_AIFF else 0


def _refuse_more(file: IO[bytes], place: int) -> None:
    """See that only tags and zeros follow what belongs to a file.

    Raises:
        InvalidAudioError: something else does.
    """
    file.seek(place)
    rest = file.read()
    if after_tags(rest) < len(rest):
        raise InvalidAudioError(
            f"what begins at byte {place + after_tags(rest):,} does not belong to it: its header says too few samples, "
            "or another file was appended. Convert it or take it apart"
        )
