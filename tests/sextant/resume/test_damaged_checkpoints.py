"""A damaged checkpoint is refused by one error, or what it holds is not touched by the damage."""

import io
import random
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from sextant.errors import InputError
from sextant.resume.checkpoint_io import AtomicCheckpointIO
from tests.mutations import tries

CONTENT = {
    "state_dict": {"a": torch.arange(7.0), "b": torch.ones(3, 2, dtype=torch.int64)},
    "global_step": 1,
    "name": "xyz",
    "pair": (1.5, None),
}
load = AtomicCheckpointIO().load_checkpoint


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.ckpt"
    AtomicCheckpointIO().save_checkpoint(CONTENT, path)
    return path


def assert_same(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_same(a[key], b[key])
    else:
        assert a == b


def assert_same_or_refused(path: Path) -> bool:
    """Whether it was refused."""
    try:
        loaded = load(path)
    except InputError:
        return True
    assert_same(loaded, CONTENT)
    return False


def flip(content: bytes, bit: int) -> bytes:
    flipped = bytearray(content)
    flipped[bit // 8] ^= 1 << (bit % 8)
    return bytes(flipped)


def test_flipped_bit_of_a_tensor_is_found(path: Path) -> None:
    content = path.read_bytes()
    values = content.index(torch.arange(7.0).numpy().tobytes())
    for bit in range(8 * values, 8 * (values + 7 * 4)):
        path.write_bytes(flip(content, bit))
        with pytest.raises(InputError, match=r"a\.ckpt: not a readable checkpoint .*data/0"):
            load(path)


@pytest.mark.fuzz
def test_flipped_bit_anywhere_is_found_or_changes_nothing(path: Path) -> None:
    content, draw = path.read_bytes(), random.Random(0)
    listing = content.index(b"PK\x01\x02")  # what is said of the records, which has no checksum of its own
    bits = [draw.randrange(8 * len(content)) for _ in tries(200)]
    bits += [draw.randrange(8 * listing, 8 * len(content)) for _ in tries(200)]
    refused = 0
    for bit in bits:
        path.write_bytes(flip(content, bit))
        refused += assert_same_or_refused(path)
    assert refused > 100


@pytest.mark.slow
def test_each_flipped_bit_is_found_or_changes_nothing(path: Path) -> None:
    content = path.read_bytes()
    for bit in range(8 * len(content)):
        path.write_bytes(flip(content, bit))
        assert_same_or_refused(path)


def test_record_that_is_marked_as_a_folder_is_refused(path: Path) -> None:
    """By one bit, and torch gives what happens to be in the memory for it."""
    content = path.read_bytes()
    for name in (b"archive/data/0", b"archive/data.pkl"):
        entry = content.rindex(name) - 46  # bytes of a record in the listing before its name
        assert content[entry:].startswith(b"PK\x01\x02")
        path.write_bytes(flip(content, 8 * (entry + 38) + 4))
        with pytest.raises(InputError, match="not a readable checkpoint"):
            load(path)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.fuzz
def test_cut_lengthened_and_overwritten_file_is_refused_or_the_same(path: Path, seed: int) -> None:
    content, draw = path.read_bytes(), random.Random(seed)
    for _ in tries(60):
        path.write_bytes(mutated(content, draw))
        assert_same_or_refused(path)


def mutated(content: bytes, draw: random.Random) -> bytes:
    """With some bytes less, more, or others."""
    begin = draw.randrange(len(content))
    end = min(len(content), begin + draw.choice([0, 1, 2, 8, 64, len(content)]))
    return content[:begin] + draw.randbytes(draw.choice([0, 1, 2, 8, end - begin])) + content[end:]


def rewritten(path: Path, change: Callable[[bytes], bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """Change the pickle of a checkpoint, and write checksums that are right."""
    written = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(written, "w", compression) as new:
        for record in old.infolist():
            content = old.read(record)
            new.writestr(record.filename, change(content) if record.filename.endswith("data.pkl") else content)
    path.write_bytes(written.getvalue())


@pytest.mark.parametrize("seed", range(4))
def test_damaged_pickle_ends_in_one_kind_of_error(path: Path, seed: int) -> None:
    """Whatever its instructions meet: IndexError, KeyError, struct.error, AttributeError, UnicodeDecodeError."""
    whole, draw = path.read_bytes(), random.Random(seed)
    for _ in range(60):
        path.write_bytes(whole)
        rewritten(path, lambda pickle: mutated(pickle, draw))
        with suppress(InputError):
            load(path)


@pytest.mark.parametrize("elements", [8, 10**9])
def test_length_that_is_more_than_there_is_asks_for_no_memory(path: Path, elements: int) -> None:
    said, more = b"K\x07", b"J" + elements.to_bytes(4, "little")  # of the tensor of seven
    rewritten(path, lambda pickle: pickle.replace(said, more))
    with pytest.raises(InputError, match="not a readable checkpoint"):
        load(path)


@pytest.mark.parametrize(
    "call", ["builtins\nbytearray", "__builtin__\nbytearray", "torch\nTensor", "torch\nByteTensor"]
)
def test_call_that_makes_as_much_memory_as_it_is_told_is_refused(path: Path, call: str) -> None:
    length = b"\x8a\x08" + (10**15).to_bytes(8, "little")
    rewritten(path, lambda _: b"\x80\x02}X\x01\x00\x00\x00ac" + call.encode() + b"\n" + length + b"\x85Rs.")
    with pytest.raises(InputError, match=r"not a readable checkpoint .*which may ask for any memory"):
        load(path)


def test_compressed_file_is_refused_since_a_small_one_may_be_huge(path: Path) -> None:
    rewritten(path, lambda pickle: pickle + bytes(10**6), zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="is compressed"):
        load(path)


def test_checksums_are_written_where_they_were_switched_off(path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        AtomicCheckpointIO().save_checkpoint(CONTENT, path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert_same(load(path), CONTENT)
