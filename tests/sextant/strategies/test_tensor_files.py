"""Files of tables that are damaged or hostile end in one message, and run no code."""

import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp

from sextant.checkpoint_files import MAIN_FILE
from sextant.errors import InputError
from sextant.resume.checkpoint_io import AtomicCheckpointIO
from sextant.strategies.sharded_checkpoint import TABLES
from tests.mutations import TIMES, tries
from tests.sextant.strategies.test_sharded_checkpoint import DIM, NAME, ROWS, WEIGHT, write


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def lengthen(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\0")


@pytest.mark.parametrize("damage", [Path.unlink, truncate, lambda file: file.write_bytes(b"")])
@pytest.mark.parametrize("name", [MAIN_FILE, f"{TABLES}/.metadata", f"{TABLES}/__0_0.distcp"])
def test_damaged_folder_is_named(tmp_path: Path, name: str, damage: Callable[[Path], Any]) -> None:
    path = write(tmp_path / "a.ckpt", torch.rand(ROWS, DIM), [0], "cells")
    damage(path / name)
    with pytest.raises(InputError, match=r"a\.ckpt"):
        AtomicCheckpointIO().load_checkpoint(path)


def test_folder_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "attacked"),)

    path = write(tmp_path / "a.ckpt", None, [0], "none")
    (path / TABLES / ".metadata").write_bytes(pickle.dumps(Attack()))
    with pytest.raises(InputError, match=r"a\.ckpt"):
        AtomicCheckpointIO().load_checkpoint(path)
    assert not (tmp_path / "attacked").exists()


def flip(file: Path, bit: int) -> None:
    content = bytearray(file.read_bytes())
    content[bit // 8] ^= 1 << (bit % 8)
    file.write_bytes(content)


@pytest.mark.parametrize("name", [f"{TABLES}/.metadata", f"{TABLES}/__0_0.distcp"])
@pytest.mark.fuzz
def test_flipped_bit_is_found_or_changes_nothing(tmp_path: Path, name: str) -> None:
    kept, draw = torch.rand(ROWS, DIM), random.Random(0)
    path = write(tmp_path / "a.ckpt", kept, [0], "cells")
    file, refused = path / name, 0
    for _ in tries(100):
        bit = draw.randrange(8 * file.stat().st_size)
        flip(file, bit)
        try:
            loaded = AtomicCheckpointIO().load_checkpoint(path)
        except InputError:
            refused += 1
        else:
            assert torch.equal(loaded["state_dict"][NAME], WEIGHT)
            assert torch.equal(loaded["optimizer_states"][0]["state"][NAME]["sum"], kept)
        flip(file, bit)
    assert refused == 100 * TIMES or name.endswith(".distcp")
    assert refused > 20


def test_flipped_bit_of_a_value_names_its_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ckpt", None, [0], "none")
    file = path / TABLES / "__0_0.distcp"
    flip(file, 8 * file.read_bytes().index(WEIGHT.numpy().tobytes()) + 30)
    with pytest.raises(InputError, match=r"a\.ckpt: its tables cannot be read \(__0_0\.distcp: the checksum of"):
        AtomicCheckpointIO().load_checkpoint(path)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: (path / TABLES / "__0_0.distcp").unlink(), r"__0_0\.distcp is missing"),
        (lambda path: truncate(path / TABLES / "__0_0.distcp"), r"__0_0\.distcp has [\d,]+ bytes instead of"),
        (lambda path: lengthen(path / TABLES / "__0_0.distcp"), r"__0_0\.distcp has [\d,]+ bytes instead of"),
        (lambda path: (path / TABLES / "__1_0.distcp").touch(), r"tables/__1_0\.distcp was not written with it"),
        (lambda path: (path / "old.ckpt").touch(), r"old\.ckpt was not written with it"),
        (lambda path: (path / TABLES / ".metadata").unlink(), r"\.metadata"),
    ],
    ids=["missing", "cut_short", "too_long", "extra", "extra_beside", "no_metadata"],
)
def test_file_that_is_missing_of_another_length_or_one_too_many_is_named(
    tmp_path: Path, damage: Callable[[Path], Any], said: str
) -> None:
    path = write(tmp_path / "a.ckpt", torch.rand(ROWS, DIM), [0], "cells")
    damage(path)
    with pytest.raises(InputError, match=said):
        AtomicCheckpointIO().load_checkpoint(path)


def test_size_of_a_table_that_its_files_do_not_have_asks_for_no_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ckpt", None, [0], "none")
    io = AtomicCheckpointIO()
    checkpoint = io.load_checkpoint(path / MAIN_FILE)
    checkpoint[TABLES][NAME]["rows"] = 10**12
    io.save_checkpoint(checkpoint, path / MAIN_FILE)
    with pytest.raises(InputError, match=r"the size of .* is \(1000000000000, 12\), by its files \(5, 12\)"):
        io.load_checkpoint(path)


@pytest.mark.parametrize("entry", [None, {"rows": 5}, []])
def test_main_file_that_does_not_say_what_tables_there_are_is_named(tmp_path: Path, entry: Any) -> None:
    path = write(tmp_path / "a.ckpt", None, [0], "none")
    io = AtomicCheckpointIO()
    io.save_checkpoint({"state_dict": {}, TABLES: {NAME: entry}}, path / MAIN_FILE)
    with pytest.raises(InputError, match=r"a\.ckpt: checkpoint\.ckpt does not say what tables there are"):
        io.load_checkpoint(path)


def test_folder_that_torch_wrote_without_a_checksum_of_its_metadata_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ckpt", None, [0], "none")
    dcp.save({NAME: WEIGHT + 1}, checkpoint_id=path / TABLES, no_dist=True)
    assert torch.equal(AtomicCheckpointIO().load_checkpoint(path)["state_dict"][NAME], WEIGHT + 1)
