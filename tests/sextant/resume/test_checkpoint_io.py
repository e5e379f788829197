"""Checkpoint files are whole or absent, and hold nothing but data."""

import os
from pathlib import Path

import pytest
import torch

from sextant.checkpoint_files import find_not_plain
from sextant.errors import InputError
from sextant.resume.checkpoint_io import AtomicCheckpointIO
from tests.filesystem import require_synced
from tests.processes import in_fork


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.ckpt"
    AtomicCheckpointIO().save_checkpoint({"weights": torch.arange(3), "plain": [1, "two", None, (3.0,)]}, path)
    loaded = AtomicCheckpointIO().load_checkpoint(path)
    assert torch.equal(loaded["weights"], torch.arange(3))
    assert loaded["plain"] == [1, "two", None, (3.0,)]
    assert [file.name for file in path.parent.iterdir()] == ["a.ckpt"]


def test_object_that_could_not_be_loaded_safely_is_named_and_not_saved(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"checkpoint\['callbacks'\]\[1\] \(pathlib"):
        AtomicCheckpointIO().save_checkpoint({"callbacks": [1, Path()]}, tmp_path / "a.ckpt")
    assert not list(tmp_path.iterdir())


def test_subclass_of_a_plain_type_is_not_plain() -> None:
    class Name(str):
        pass

    assert find_not_plain({"a": Name("x")}) is not None
    assert find_not_plain({Name("x"): 1}) is not None
    assert find_not_plain({"a": [torch.zeros(1), torch.nn.Parameter(torch.zeros(1)), True, b"x"]}) is None


def test_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "attacked"),)

    torch.save({"state_dict": Attack()}, tmp_path / "a.ckpt")
    with pytest.raises(InputError, match=r"a\.ckpt: refused"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "a.ckpt", weights_only=False)
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 half"])
def test_damaged_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.ckpt").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.ckpt"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "a.ckpt")


def test_checkpoint_cut_short_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    AtomicCheckpointIO().save_checkpoint({"weights": torch.zeros(10_000)}, path)
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(InputError, match=r"a\.ckpt: not a readable checkpoint"):
        AtomicCheckpointIO().load_checkpoint(path)


def test_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.ckpt: there is no such checkpoint"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "a.ckpt")


def test_full_disk_leaves_the_previous_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"weights": torch.zeros(2)}, path)
    ones = {"weights": torch.ones(1_000_000)}
    _, error = in_fork(lambda: AtomicCheckpointIO().save_checkpoint(ones, path), largest_file=100_000)
    assert isinstance(error, InputError)
    assert "last.ckpt: the checkpoint could not be written" in str(error)
    assert "The previous file of that name is as it was" in str(error)
    assert torch.equal(AtomicCheckpointIO().load_checkpoint(path)["weights"], torch.zeros(2))
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_checkpoint_is_for_whom_the_umask_says(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        AtomicCheckpointIO().save_checkpoint({"weights": torch.zeros(2)}, tmp_path / "a.ckpt")
    finally:
        os.umask(before)
    assert (tmp_path / "a.ckpt").stat().st_mode & 0o777 == 0o666 & ~umask


def test_checkpoint_is_whole_on_the_disk_before_it_has_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    require_synced(path, lambda: AtomicCheckpointIO().save_checkpoint({"weights": torch.zeros(100_000)}, path))
