"""The ids in a column of a click log as text: the same id is the same text, in whatever way a file holds it.

- A whole number is its digits, with ``-`` below 0: 7 as an integer of any width, as a decimal, as a float (what pandas
  makes of integers once a value is missing) and as the text ``7`` or ``7.0`` (what it writes of that float). -0.0 and
  ``-0`` are 0.
- Any other text means itself, byte by byte: ``007``, ``+7``, ``7.5``, ``1e3``, ``12345678`` and ``1e345678``, which may
  be hexadecimal.
- A number with a fraction is the text that Python writes, ``7.5``.
- A null, NaN and an empty text are missing.

Floats hold whole numbers exactly only up to a bound, 2**53 with 64 bits and 2**24 with 32, and programs drop digits
where they write ``1.5e+18``: two ids may have become one there, so such values cannot be used. Truth values, dates and
times are no ids, since every program writes them in its own way.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

#: How floats are written: whole ones, and those in scientific notation with a point or a plus, which no hexadecimal
#: number has.
FLOAT = r"^(-?((0|[1-9][0-9]*)\.0*|[0-9]+\.[0-9]*[eE]\+?[0-9]+|[0-9]+[eE]\+[0-9]+)|-0)$"
WHOLE = r"^-?[0-9]+(\.0*)?$"
TEXT_TYPES = (
    *(pa.string(), pa.large_string(), pa.string_view()),
    *(pa.binary(), pa.large_binary(), pa.binary_view()),
)
#: What is said of a value that cannot be used.
INEXACT = (
    "no whole number with all its digits: floats of 64 bits have them below 2**53, and of 32 bits below 2**24. Write "
    "ids as integers or as text"
)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type of the values themselves, where each may be stored once."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds text or bytes."""
    return plain_type(kind) in TEXT_TYPES


def can_be_ids(kind: pa.DataType) -> bool:
    """Whether a column of this type can hold ids."""
    plain = plain_type(kind)
    numbers = (pa.types.is_integer, pa.types.is_float32, pa.types.is_float64, pa.types.is_decimal, pa.types.is_null)
    return plain in TEXT_TYPES or any(matches(plain) for matches in numbers)


def plain_values(values: pa.Array) -> pa.Array:
    """The values of a column themselves, of their :func:`plain_type`."""
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def id_texts(values: pa.Array) -> tuple[pa.BinaryArray, NDArray[np.bool_]]:
    """The ids in a column as text, and which of them cannot be used, bool (N,), for the reason :data:`INEXACT`.

    Args:
        values: of a type that :func:`can_be_ids`.
    """
    values = plain_values(values)
    if is_text(values.type):
        return _of_texts(values.cast(pa.binary()))
    if pa.types.is_decimal(values.type):
        return _of_decimals(values)
    if pa.types.is_floating(values.type):
        return _of_floats(values)
    return values.cast(pa.string()).cast(pa.binary()), np.zeros(len(values), np.bool_)


def _of_texts(texts: pa.BinaryArray) -> tuple[pa.BinaryArray, NDArray[np.bool_]]:
    wrong = np.zeros(len(texts), np.bool_)
    floats = pc.match_substring_regex(texts, FLOAT).fill_null(False)
    if not floats.true_count:
        return texts, wrong
    written = texts.filter(floats).cast(pa.string())
    exact: NDArray[np.bool_] = pc.match_substring_regex(written, WHOLE).to_numpy(zero_copy_only=False)
    exact &= np.abs(written.cast(pa.float64()).to_numpy()) < _bound(np.float64)
    wrong[floats.to_numpy(zero_copy_only=False)] = ~exact
    digits = pc.if_else(pa.array(exact), pc.replace_substring_regex(written, r"\.0*$", ""), written)
    whole = pc.if_else(pc.equal(digits, "-0"), "0", digits)
    return pc.replace_with_mask(texts, floats, whole.cast(pa.binary())), wrong


def _of_floats(values: pa.FloatingPointArray) -> tuple[pa.BinaryArray, NDArray[np.bool_]]:
    numbers = values.to_numpy(zero_copy_only=False)  # what is missing is NaN here
    missing, whole = np.isnan(numbers), np.floor(numbers) == numbers
    wrong = whole & (np.abs(numbers) >= _bound(numbers.dtype.type))
    whole &= ~wrong
    texts = np.where(whole, numbers, 0).astype(np.int64).astype(np.str_).astype(np.object_)
    others = ~whole & ~missing
    texts[others] = numbers[others].astype(np.str_)
    return pa.array(texts, pa.string(), mask=missing).cast(pa.binary()), wrong


def _of_decimals(values: pa.Array) -> tuple[pa.BinaryArray, NDArray[np.bool_]]:
    wide = values.cast(pa.decimal256(76, values.type.scale))
    whole = pc.equal(pc.trunc(wide), wide)
    digits = values.cast(pa.decimal256(76, 0), safe=False).cast(pa.string()).cast(pa.binary())
    fractions, _ = _of_floats(values.cast(pa.float64()))
    return pc.if_else(whole, digits, fractions), np.zeros(len(values), np.bool_)


def _bound(kind: type) -> int:
    """Below this, all whole numbers differ as floats of a type."""
    return 2 ** (np.finfo(kind).nmant + 1)
