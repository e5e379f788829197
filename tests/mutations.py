"""Files with damage of every kind that reading has to survive, the same for the same seed."""

import functools
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from sextant.errors import InputError

#: How many times as many damaged files are tried as the quick tests do: ``make fuzz``.
TIMES = int(os.environ.get("FUZZ_TIMES", "1"))
#: How many were tried, by test.
TRIED: Counter[str] = Counter()

#: What is put into a file, or in the place of a part of it.
PIECES = (
    *(b"", b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xff\xfe", b"\x1f\x8b\x08", b"PK\x03\x04"),
    *(
        b"\n",
        b"\n\n\n",
        b"\r",
        b"\r\n",
        b"\x0b",
        b"\x1c",
        b"\x85",
        "\u2028".encode(),
        b" ",
        b"\t",
        b"\t\t",
        "\u3000".encode(),
    ),
    *(b'"', b"'", b",", b"[", b"]", b"{", b"}", b"[" * 3000, b'{"a":' * 3000, b"\\ud800", b"\\u0000", b"null", b"true"),
    *(b"-1", b"1e999", b"NaN", b"9" * 5000, b"x" * 5000, b"../" * 30, b"/", b"\\", b"<html>", b"%PDF-1.7"),
)


def fuzz(count: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Try a test of Hypothesis, one damaged file an example, on so many or ``TIMES`` as many of them."""

    def decorate(test: Any) -> Any:
        one = test.hypothesis.inner_test

        @functools.wraps(one)
        def counted(*args: Any, **options: Any) -> None:
            _count()
            one(*args, **options)

        test.hypothesis.inner_test = counted
        return pytest.mark.fuzz(settings(max_examples=count * TIMES, deadline=None)(test))

    return decorate


def tries(count: int) -> Iterator[int]:
    """Numbers of so many damaged files, or ``TIMES`` as many, for a test that tries them in a loop."""
    for number in range(count * TIMES):
        _count()
        yield number


def _count() -> None:
    TRIED[os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]] += 1


def mutations(content: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """So many damaged versions of a file, or ``TIMES`` as many."""
    draw = random.Random(seed)
    for _ in tries(count):
        damaged = content
        for _ in range(draw.randint(1, 3)):
            start = draw.randint(0, len(damaged))
            stop = draw.choice([start, start, start + 1, draw.randint(start, len(damaged)), len(damaged)])
            piece = draw.choice([*PIECES, content, bytes([draw.randrange(256)])])
            damaged = damaged[:start] + piece + damaged[stop:]
        yield damaged


def require_only_input_errors(file: Path, read: Callable[[], object], count: int = 300) -> None:
    """Damage a file in many ways, and require that reading it gives something or an :class:`InputError`."""
    content = file.read_bytes()
    refused = 0
    for damaged in mutations(content, count):
        file.write_bytes(damaged)
        try:
            read()
        except InputError:
            refused += 1
        except Exception as error:
            raise AssertionError(f"{type(error).__name__}: {error}\n{damaged[:2000]!r}") from error
    file.write_bytes(content)
    read()
    assert 0 < refused < count * TIMES
