"""The same id is the same text in whatever type and file it comes, and what may have lost digits is refused."""

from collections.abc import Callable
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from datamodules.clicks.ids import can_be_ids, id_texts

#: The ways in which a file holds a whole number below 2**24 (2**53), or none.
NARROW: dict[str, Callable[[int | None], pa.Array]] = {
    "int32": lambda n: pa.array([n], pa.int32()),
    "int64": lambda n: pa.array([n], pa.int64()),
    "float32": lambda n: pa.array([n], pa.float32()),
    "decimal": lambda n: pa.array([None if n is None else Decimal(n)], pa.decimal128(20, 3)),
    "dictionary": lambda n: pa.array([n], pa.float64()).dictionary_encode(),
    "text": lambda n: pa.array([None if n is None else str(n)], pa.large_string()),
}
WIDE: dict[str, Callable[[int | None], pa.Array]] = {
    "int64": lambda n: pa.array([n], pa.int64()),
    "float64": lambda n: pa.array([n], pa.float64()),
    "decimal of whole numbers": lambda n: pa.array([None if n is None else Decimal(n)], pa.decimal128(38, 0)),
    "text": lambda n: pa.array([None if n is None else str(n)], pa.string_view()),
    "text of a float": lambda n: pa.array([None if n is None else f"{n}.0"]),
    "bytes of a float": lambda n: pa.array([None if n is None else f"{n}.".encode()]),
}


def texts_of(values: pa.Array) -> list[bytes | None]:
    """The ids in a column, none of which is refused."""
    texts, wrong = id_texts(values)
    assert texts.type == pa.binary()
    assert not wrong.any()
    return texts.to_pylist()


@given(number=st.none() | st.integers(1 - 2**24, 2**24 - 1))
@example(number=0)
def test_whole_number_is_its_digits_in_every_type(number: int | None) -> None:
    expected = None if number is None else str(number).encode()
    assert {name: texts_of(make(number)) for name, make in NARROW.items()} == {name: [expected] for name in NARROW}


@given(number=st.none() | st.integers(1 - 2**53, 2**53 - 1))
@example(number=123456789012)
def test_large_whole_number_is_its_digits_in_every_type_that_holds_it(number: int | None) -> None:
    expected = None if number is None else str(number).encode()
    assert {name: texts_of(make(number)) for name, make in WIDE.items()} == {name: [expected] for name in WIDE}


def test_integers_have_all_their_digits_whatever_their_size() -> None:
    assert texts_of(pa.array([2**64 - 1], pa.uint64())) == [b"18446744073709551615"]
    assert texts_of(pa.array([-(2**63)], pa.int64())) == [b"-9223372036854775808"]
    assert texts_of(pa.array([str(10**30)])) == [str(10**30).encode()]
    assert texts_of(pa.array([Decimal(10**30)], pa.decimal256(60, 2))) == [str(10**30).encode()]


@pytest.mark.parametrize(
    "text",
    [
        *("68fd1e64", "12345678", "1e345678", "1e345", "0e000001", "1E16", "00000000"),  # hexadecimal, all of them
        *("007", "007.0", "+7", " 7", "7 ", "0x7", "7.5", "7.50", "7.0.0", "7,0", "v7.0", "nan", "NaN", "None", "-"),
        *("1.5e-05", ".0", ".", "caf\xe9", "7\n", "7.0\n"),
    ],
)
def test_text_means_itself(text: str) -> None:
    assert texts_of(pa.array([text])) == [text.encode()]
    assert texts_of(pa.array([b"7.0", text.encode()], pa.binary()).slice(1)) == [text.encode()]


def test_zero_has_no_sign() -> None:
    assert texts_of(pa.array(["-0.0", "-0", "0.00", "0", "-0."])) == [b"0"] * 5
    assert texts_of(pa.array([-0.0, 0.0])) == [b"0"] * 2
    assert texts_of(pa.array([Decimal("-0.00"), Decimal("0.00")])) == [b"0"] * 2
    assert texts_of(pa.array([Decimal("0.0000000000")])) == [b"0"]


def test_fraction_is_the_text_that_python_writes() -> None:
    expected = [b"7.5", b"-0.1", b"1e-07"]
    assert texts_of(pa.array([7.5, -0.1, 1e-7])) == expected
    assert texts_of(pa.array([7.5, -0.1, 1e-7], pa.float32())) == expected
    assert texts_of(pa.array([Decimal("7.50000000"), Decimal("-0.1"), Decimal("0.0000001")])) == expected
    assert texts_of(pa.array([str(number) for number in (7.5, -0.1, 1e-7)])) == expected


def test_nothing_and_nan_are_missing() -> None:
    assert texts_of(pa.array([np.nan, None, 7.0])) == [None, None, b"7"]
    assert texts_of(pa.array([np.nan, None], pa.float32()).dictionary_encode()) == [None, None]
    assert texts_of(pa.array([None, None])) == [None, None]
    assert texts_of(pa.array([], pa.float64())) == texts_of(pa.array([], pa.string())) == []


@pytest.mark.parametrize(
    ("values", "inexact"),
    [
        (pa.array([2.0**53 - 1, 2.0**53, -(2.0**53), 1e300, np.inf, -np.inf]), [False, True, True, True, True, True]),
        (pa.array([2.0**24 - 1, 2.0**24, 123456789.0, np.inf], pa.float32()), [False, True, True, True]),
        (pa.array(["9007199254740991.0", "9007199254740993.0", f"-{10**20}.0"]), [False, True, True]),
        (pa.array(["1e+16", "1.2345678901234568e+18", "1.23457E+11", "1.0E16", "-1e+05", "7.0"]), [True] * 5 + [False]),
        (pa.array(["a", "1e+16", None]).dictionary_encode(), [False, True, False]),
    ],
    ids=["float64", "float32", "text", "scientific", "dictionary"],
)
def test_whole_number_that_may_have_lost_digits_is_refused(values: pa.Array, inexact: list[bool]) -> None:
    _, wrong = id_texts(values)
    assert wrong.tolist() == inexact


@pytest.mark.parametrize(
    "kind",
    [pa.bool_(), pa.date32(), pa.timestamp("us"), pa.time64("us"), pa.float16(), pa.list_(pa.int64()), pa.binary(4)],
    ids=str,
)
def test_what_programs_write_in_several_ways_is_no_id(kind: pa.DataType) -> None:
    assert not can_be_ids(kind)
    assert not can_be_ids(pa.dictionary(pa.int32(), kind))
