"""JSON files are read as they are, and what is no JSON is named."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sextant.errors import InputError
from sextant.files.json_file import read_json
from tests.mutations import fuzz

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=100, deadline=None)
@given(value=values, ascii=st.booleans(), mark=st.booleans())
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, value: object, ascii: bool, mark: bool
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.json"
    file.write_bytes(b"\xef\xbb\xbf" * mark + json.dumps(value, ensure_ascii=ascii).encode("utf-8", "surrogatepass"))
    try:
        assert read_json(file) == value
    except InputError:
        assert any("\ud800" <= character <= "\udfff" for character in json.dumps(value, ensure_ascii=False))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", ": no JSON"),
        (b"{", ": no JSON"),
        (b'{"a": 1}\n{"a": 2}', ": no JSON (Extra data"),
        (b"[" * 3000 + b"]" * 3000, ": the JSON is nested too deep"),
        (b'{"a": ' * 3000 + b"1" + b"}" * 3000, ": the JSON is nested too deep"),
        (b"1" * 5000, ": no JSON (Exceeds the limit"),
        (b'["\\ud800"]', ": the JSON has half a surrogate pair, '\\ud800'"),
        (b'["\\uD83D"]', ": the JSON has half a surrogate pair, '\\ud83d'"),  # in capitals, as others write it
        (b'{"\\uDe00": 1}', ": the JSON has half a surrogate pair, '\\ude00'"),
        (b'["caf\xe9"]', ":1: not UTF-8 at byte 5"),
        ('["a"]'.encode("utf-16"), ": it is text in UTF-16"),
        (b"\x1f\x8b\x08", ": it is a gzip file"),
    ],
)
def test_what_is_no_json_is_named(tmp_path: Path, content: bytes, complaint: str) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_json(file)
    assert str(error.value).startswith(f"{file}{complaint}")


@fuzz(300)
@given(data=st.data())
def test_damaged_json_is_read_or_an_input_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray(json.dumps({"data": [{"a": "\u00e9\U0001f600", "b": [1, 2.5, None]}]}).encode())
    for place, byte in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=4)
    ):
        content[place] = byte
    file = tmp_path_factory.getbasetemp() / "damaged.json"
    file.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(InputError):
        read_json(file)
