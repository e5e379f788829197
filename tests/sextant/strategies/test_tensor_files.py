"""Files of tables that are damaged or hostile end in one message, and run no code."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sextant.checkpoint_files import MAIN_FILE
from sextant.errors import InputError
from sextant.resume.checkpoint_io import AtomicCheckpointIO
from sextant.strategies.sharded_checkpoint import TABLES
from tests.sextant.strategies.test_sharded_checkpoint import DIM, ROWS, write


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


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
