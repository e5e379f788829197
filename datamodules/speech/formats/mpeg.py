"""MPEG audio (MP3): the streams of a file, by its frames.

A file has no header: its length is that of a frame (Xing's, LAME's or Fraunhofer's) that may be missing or concern the
first of several streams, and is guessed otherwise.
"""

from dataclasses import dataclass
from functools import lru_cache

from datamodules.speech.formats.stream import InvalidAudioError, Stream, after_tags

HEADER = 4  # bytes
XING, VBRI = "Xing", "VBRI"
MPEG1, MPEG2, MPEG25 = 3, 2, 0  # as in the header, like the layers
LAYER1, LAYER2, LAYER3 = 3, 2, 1
MONO = 3
RATES = {MPEG1: (44100, 48000, 32000), MPEG2: (22050, 24000, 16000), MPEG25: (11025, 12000, 8000)}
_LOW = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
KBITS = {  # per second, by the index in the header, from 1 on
    (MPEG1, LAYER1): tuple(range(32, 449, 32)),
    (MPEG1, LAYER2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (MPEG1, LAYER3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (MPEG2, LAYER1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (MPEG2, LAYER2): _LOW,
    (MPEG2, LAYER3): _LOW,
}
GAPLESS = 4  # frames: what a tag leaves out at both ends, as the encoder added it, is less


@dataclass(frozen=True)
class Frame:
    """A frame, by its header.

    Args:
        size: bytes.
        samples: per channel.
        kind: MPEG version, layer, sample rate and whether there is one channel; the same in all frames of a stream.
        side: where its side information ends, and a tag with the length of the stream would begin.
    """

    size: int
    samples: int
    kind: tuple[int, int, int, bool]
    side: int


def is_mpeg(data: bytes) -> bool:
    """Whether a frame begins here."""
    return _frame(data[:HEADER]) is not None


def mpeg_streams(data: bytes) -> list[Stream]:
    """The streams of an MPEG file, which may follow one another, with tags between them.

    Args:
        data: the file.

    Raises:
        InvalidAudioError: it breaks off, or something is neither a frame nor a tag.
    """
    streams: list[Stream] = []
    place = after_tags(data, 0)
    while place < len(data):
        stream = _stream(data, place)
        streams.append(stream)
        place = after_tags(data, stream.stop)
    if not streams:
        raise InvalidAudioError("it has no audio behind its tags")
    return streams


def _stream(data: bytes, start: int) -> Stream:
    """The stream that begins at a place: as long as its tag says, or else until something is no frame of its kind."""
    first = _frame(data[start : start + HEADER])
    if first is None:
        raise InvalidAudioError(f"it is damaged: what begins at byte {start:,} is no frame of MPEG audio")
    tag, stated = _length(data, start, first)
    audio = place = start + first.size if tag else start
    count = 0
    while not stated or count < stated:
        frame = _frame(data[place : place + HEADER])
        if frame is None or frame.kind != first.kind or (count and _length(data, place, frame)[0]):
            break
        place += frame.size
        count += 1
    if place > len(data):
        raise InvalidAudioError(f"it is truncated in its last frame, by {place - len(data):,} bytes")
    if count < stated:
        raise InvalidAudioError(f"it is truncated: {count:,} of {stated:,} frames")
    if count == 0:
        raise InvalidAudioError("it has no frame of audio")
    samples = count * first.samples
    if tag == XING and stated:
        return Stream(start, place, least=samples - GAPLESS * first.samples, most=samples)
    silence = _silence(data[audio : audio + HEADER])
    return Stream(audio, place, silence, skip=first.samples, least=samples, most=samples)


def _length(data: bytes, start: int, frame: Frame) -> tuple[str, int]:
    """The kind of the tag in a frame, and the number of frames that it says follow; 0 if it does not say."""
    if frame.kind[1] == LAYER3:
        for place in (start + frame.side, start + frame.side + 2):  # a check sum may come before
            if data[place : place + 4] in (b"Xing", b"Info"):
                flags, count = (int.from_bytes(data[place + at : place + at + 4], "big") for at in (4, 8))
                return XING, count if flags & 1 else 0
        if data.startswith(b"VBRI", start + 36):
            return VBRI, int.from_bytes(data[start + 50 : start + 54], "big")
    return "", 0


@lru_cache(maxsize=4096)
def _frame(header: bytes) -> Frame | None:
    """The frame with a header of four bytes, None if there is none."""
    if len(header) < HEADER or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bits, rate, padding, mode = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1, header[3] >> 6
    if version not in RATES or not layer or bits in (0, 15) or rate == 3:
        return None
    rate = RATES[version][rate]
    speed = KBITS[max(version, MPEG2), layer][bits - 1] * 1000
    samples = 384 if layer == LAYER1 else 576 if layer == LAYER3 and version != MPEG1 else 1152
    slot = 4 if layer == LAYER1 else 1  # bytes
    size = (samples // 8 // slot * speed // rate + padding) * slot
    side = HEADER + ((17 if mode == MONO else 32) if version == MPEG1 else (9 if mode == MONO else 17))
    return Frame(size, samples, (version, layer, rate, mode == MONO), side)


def _silence(header: bytes) -> bytes:
    """A silent frame of the lowest bit rate, of the kind of another.

    libsndfile guesses the length from the size of the first frame: after this one it guesses too much, and never less
    than there is.
    """
    head = bytes([header[0], header[1] | 1, header[2] & 0x0D | 0x10, header[3]])
    frame = _frame(head)
    assert frame
    return head.ljust(frame.size, b"\0")
