"""FLAC: its frames are decoded to the last, whatever its header says of their number (RFC 9639)."""

from typing import IO

from datamodules.speech.formats.stream import APE_TAG, ID3V1, InvalidAudioError, Stream, before_tags

STREAM_INFO = 4 + 4 + 34  # bytes of the mark, and of the first block with its header
RATES = dict(enumerate((88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000), 1))
BYTES, HERTZ, TENS_OF_HERTZ = 12, 13, 14  # instead of the index of a rate: how it follows in the frame's header


def flac_stream(file: IO[bytes], start: int, size: int) -> Stream:
    """The one stream of a FLAC file, with a header that leaves open how long it is: so libsndfile finds it out.

    Args:
        file: the file.
        start: where FLAC begins in it, after tags.
        size: its bytes.

    Raises:
        InvalidAudioError: its header is truncated, or contradicts its first frame.
    """
    file.seek(start)
    head = bytearray(file.read(STREAM_INFO))
    if len(head) < STREAM_INFO or head[4] & 0x7F or int.from_bytes(head[5:8], "big") != 34:
        raise InvalidAudioError("it is no recording (its header is truncated or damaged)")
    rate = int.from_bytes(head[18:21], "big") >> 4
    samples = int.from_bytes(head[21:26], "big") & (1 << 36) - 1
    head[21:26] = (head[21] & 0xF0, 0, 0, 0, 0)
    found = _rate_of_first_frame(file, bool(head[4] & 0x80))
    if found and found != rate:
        raise InvalidAudioError(f"its header says {rate:,} samples a second, and its first frame {found:,}")
    file.seek(max(start, size - ID3V1 - APE_TAG))
    end = file.read()
    stop = size - len(end) + before_tags(end)
    return Stream(start + STREAM_INFO, stop, bytes(head), least=samples, most=samples or None)


def _rate_of_first_frame(file: IO[bytes], last: bool) -> int | None:
    """Samples per second as the first frame says, None if it does not.

    Args:
        file: the file, at the end of its first block.
        last: that is the last block before the frames.
    """
    while not last:
        header = file.read(4)
        last = len(header) < 4 or bool(header[0] & 0x80)
        file.seek(int.from_bytes(header[1:], "big"), 1)
    frame = file.read(16)
    if len(frame) < 16 or frame[0] != 0xFF or frame[1] & 0xFE != 0xF8:
        return None  # decoding says what is wrong
    length, rate = frame[2] >> 4, frame[2] & 0xF
    number = next((ones for ones in range(8) if not frame[4] << ones & 0x80), 8)  # ones before the first zero
    place = 4 + max(1, number) + {6: 1, 7: 2}.get(length, 0)
    two = int.from_bytes(frame[place : place + 2], "big")
    return RATES.get(rate) or {BYTES: frame[place] * 1000, HERTZ: two, TENS_OF_HERTZ: two * 10}.get(rate)
