"""Keys of values are what Python computes one by one."""

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from datamodules.clicks.keys import hash_keys, hashed_rows, hex_keys, integer_keys

HEX = b"0123456789abcdefABCDEF"
VALUES = st.lists(
    st.none()
    | st.binary(max_size=20)
    | st.text("0123456789abcdefABCDEF", max_size=9).map(str.encode)
    | st.text("0123456789.g-", max_size=20).map(str.encode),
    max_size=30,
)


def column(values: list[bytes | None], cut: int = 0) -> pa.BinaryArray:
    """A column of binary values, as part of a longer one."""
    return pa.array([b"before"] * cut + values + [b"after"] * cut, pa.binary()).slice(cut, len(values))


@settings(max_examples=200, deadline=None)
@given(values=VALUES, cut=st.integers(0, 3))
@example(values=[bytes([i]) for i in range(256)], cut=0)
@example(values=[b"00000000", b"0", b"ffffffff", b"FFFFFFFF", b"123456789", b"", None], cut=0)
def test_hexadecimal_numbers_are_read_as_python_reads_them(values: list[bytes | None], cut: int) -> None:
    keys, wrong = hex_keys(column(values, cut))
    for value, key, bad in zip(values, keys.tolist(), wrong.tolist(), strict=True):
        if not value:
            assert (key, bad) == (0, False)
        elif len(value) <= 8 and all(byte in HEX for byte in value):
            assert (key, bad) == (int(value, 16) + 1, False)
        else:
            assert bad


@settings(max_examples=200, deadline=None)
@given(values=VALUES, cut=st.integers(0, 3))
@example(values=[b"7.0", b"7.", b"7.5", b"-1", b"+1", b" 1", b"007", b"9" * 18, b"9" * 19, b"1e3"], cut=1)
def test_row_numbers_are_read_as_python_reads_them(values: list[bytes | None], cut: int) -> None:
    keys, wrong = integer_keys(column(values, cut))
    for value, key, bad in zip(values, keys.tolist(), wrong.tolist(), strict=True):
        whole, _, fraction = (value or b"").partition(b".")
        if not value:
            assert (key, bad) == (0, False)
        elif 0 < len(whole) <= 18 and all(48 <= byte <= 57 for byte in whole) and set(fraction) <= {48}:
            assert (key, bad) == (int(whole) + 1, False)
        else:
            assert (key, bad) == (0, True)


@settings(max_examples=100, deadline=None)
@given(values=VALUES, cut=st.integers(0, 3))
@example(values=[b"a", b"a\0", b"a\0\0", b"12345678", b"12345678\0", b"\0" * 7, b"\0" * 8, b"\0" * 9], cut=0)
def test_hashes_are_the_same_for_the_same_text_alone(values: list[bytes | None], cut: int) -> None:
    keys = hash_keys(column(values, cut)).tolist()
    alone = [int(hash_keys(column([value]))[0]) for value in values]
    assert keys == alone
    assert all((key == 0) == (not value) for value, key in zip(values, keys, strict=True))
    assert len({key for key in keys if key}) == len({value for value in values if value})


def test_hashes_stay_what_they_were_so_that_cached_rows_can_be_used() -> None:
    keys = hash_keys(column([b"a", b"red", b"a rather long text of several words"]))
    assert keys.tolist() == [5718913436695043505, 7602107502851419812, 18302487499536376856]


def test_hashes_of_many_texts_collide_as_rarely_as_64_bits_allow() -> None:
    texts: list[bytes | None] = [b"user-%d" % i for i in range(200_000)]
    keys = hash_keys(column(texts))
    assert len(set(keys.tolist())) == len(texts)
    for shift in range(0, 64, 8):  # every byte of the keys takes all values alike
        counts = [0] * 256
        for key in keys[:25_600].tolist():
            counts[key >> shift & 255] += 1
        assert 40 < min(counts) <= max(counts) < 170  # 100 are expected, with a deviation of 10


@pytest.mark.parametrize("rows", [2, 3, 10, 1000])
def test_hashed_rows_are_in_the_table_and_spread_over_all_but_the_first(rows: int) -> None:
    # Values that agree in their low bits, which must not decide alone.
    keys, _ = hex_keys(column([*(b"%x00" % i for i in range(1, 50 * rows)), None, b""]))
    found = hashed_rows(keys, rows)
    assert found[-2:].tolist() == [0, 0]
    counts = [0] * rows
    for row in found[:-2].tolist():
        counts[row] += 1
    assert counts[0] == 0
    assert min(counts[1:]) > 10
