"""The values of a column of a click log as 64-bit keys: hexadecimal numbers, integers or text, without a loop."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sextant.samplers.fixed.keyed_permutation import mix

Keys = NDArray[np.uint64]
MISSING = np.uint64(0)  # the key of a value that is not there; no other value has it
WORD = 8  # bytes that are looked at together
HEX_DIGITS = 8
ODD = np.uint64(0x9E3779B97F4A7C15)  # 2**64 by the golden ratio
ZEROS = np.frombuffer(b"0" * WORD, "<u8")[0]
NO_DIGIT = 0xFF
NO_DIGIT_BITS = np.uint64(0xF0F0F0F0F0F0F0F0)
#: What a byte is worth as a hexadecimal digit.
DIGITS = np.full(256, NO_DIGIT, np.uint8)
for _digits in (b"0123456789abcdef", b"0123456789ABCDEF"):
    DIGITS[list(_digits)] = range(16)


class Texts:
    """The values of a column of text as one run of bytes.

    Args:
        column: of the type binary, without nulls or with.
    """

    def __init__(self, column: pa.BinaryArray) -> None:
        _, offsets, content = column.buffers()
        bounds = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
        first, last = (int(bounds[0]), int(bounds[-1])) if len(column) else (0, 0)
        held = np.frombuffer(content, np.uint8)[first:last] if content is not None else np.empty(0, np.uint8)
        # Room behind the last value, so that a word can be read at any place.
        self._content = np.concatenate([held, np.zeros(WORD, np.uint8)])
        self._words = np.ndarray(len(self._content) - WORD + 1, "<u8", self._content.data, 0, (1,))
        self._starts = (bounds[:-1] - first).astype(np.int64)
        #: How long each value is, int64 (N,), in bytes. What is missing has 0.
        self.lengths = np.diff(bounds).astype(np.int64)

    def words(self, rows: NDArray[np.int64], place: int) -> Keys:
        """Eight bytes of some values, the first the lowest; what is beyond a value's end is 0.

        Args:
            rows: of which values, each longer than ``place``.
            place: the first of the eight bytes.
        """
        words = self._words[self._starts[rows] + place]
        left = self.lengths[rows] - place
        if left.size and left.min() < WORD:
            beyond = np.maximum(WORD - left, 0).astype(np.uint64) * np.uint64(8)
            words = (words << beyond) >> beyond
        return words


def hash_keys(column: pa.BinaryArray) -> Keys:
    """A 64-bit hash of each text, uint64 (N,), the same on every machine; :data:`MISSING` for an empty one or a null.

    Two of ``n`` distinct texts have the same key with a probability of about ``n**2 / 2**65``: one in 300 for 350
    million texts.
    """
    texts = Texts(column)
    hashed = texts.lengths.astype(np.uint64)
    rows = np.flatnonzero(texts.lengths)
    place = 0
    while rows.size:
        hashed[rows] = mix(hashed[rows] * ODD + texts.words(rows, place))
        place += WORD
        rows = rows[texts.lengths[rows] > place]
    hashed[(hashed == MISSING) & (texts.lengths > 0)] = 1
    return hashed


def hex_keys(column: pa.BinaryArray) -> tuple[Keys, NDArray[np.bool_]]:
    """The values of hexadecimal texts of up to eight digits, plus one.

    Returns:
        The keys, uint64 (N,), :data:`MISSING` for an empty text or a null; and which texts are no such number,
        bool (N,).
    """
    texts = Texts(column)
    keys = np.zeros(len(column), np.uint64)
    wrong = texts.lengths > HEX_DIGITS
    rows = np.flatnonzero((texts.lengths > 0) & ~wrong)
    words = texts.words(rows, 0)
    # Short numbers are moved to the end of the word, behind zeros, as people write them.
    short = np.flatnonzero(texts.lengths[rows] < HEX_DIGITS)
    absent = np.uint64(8) * (np.uint64(HEX_DIGITS) - texts.lengths[rows[short]].astype(np.uint64))
    words[short] = (words[short] << absent) | (ZEROS & ~(~np.uint64(0) << absent))
    digits = DIGITS[words.view(np.uint8)].view("<u8")
    wrong[rows] = (digits & NO_DIGIT_BITS) != 0
    # Two digits to a byte, two bytes to four digits, and so on; the first digit is the highest.
    for bits, mask in ((4, 0x00FF00FF00FF00FF), (8, 0x0000FFFF0000FFFF), (16, 0x00000000FFFFFFFF)):
        digits = ((digits << np.uint64(bits)) | (digits >> np.uint64(2 * bits))) & np.uint64(mask)
    keys[rows] = digits + np.uint64(1)
    return keys, wrong


def integer_keys(column: pa.BinaryArray) -> tuple[Keys, NDArray[np.bool_]]:
    """The values of texts of decimal digits, plus one; a fraction of zero, as in ``7.0``, may follow.

    Returns:
        As :func:`hex_keys`; numbers have up to 18 digits.
    """
    fits = pc.match_substring_regex(column, r"^[0-9]{1,18}(\.0*)?$").fill_null(False)
    digits = pc.replace_substring_regex(pc.if_else(fits, column, None).cast(pa.string()), r"\.0*$", "")
    keys = digits.cast(pa.uint64()).fill_null(0).to_numpy(zero_copy_only=False)
    good = fits.to_numpy(zero_copy_only=False)
    return np.where(good, keys + np.uint64(1), MISSING), ~good & (Texts(column).lengths > 0)


def hashed_rows(keys: Keys, rows: int) -> NDArray[np.int32]:
    """The rows of a table that keys fall on, int32 (N,): 0 for what is missing, any other for the rest.

    Args:
        keys: uint64 (N,).
        rows: of the table, at least 2.
    """
    found = np.uint64(1) + mix(keys) % np.uint64(rows - 1)
    return np.where(keys == MISSING, 0, found).astype(np.int32)
