"""A checkpoint that replaces another leaves a whole one, whenever it is killed."""

import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sextant.checkpoint_files import keep_as_previous, remove_leftovers, replace_atomically, restore_interrupted


class Killed(BaseException):
    pass


def contents(path: Path) -> str:
    """What a folder holds; the second file tells whether it is whole."""
    return (path / "a").read_text() + (path / "b").read_text()


def folder(path: Path, content: str) -> None:
    path.mkdir()
    (path / "a").write_text(content)
    (path / "b").write_text(content)


@pytest.mark.parametrize("first", [None, "old", "file"])
@pytest.mark.parametrize("kills", [*itertools.product(range(12), repeat=2)], ids=str)
def test_killed_replacement_leaves_a_whole_checkpoint(
    tmp_path: Path, first: str | None, kills: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before any change of the disk, and the next save too, with and without a resume in between."""
    real = {name: getattr(os, name) for name in ("rename", "unlink", "rmdir")}
    left = [0]

    def guarded(name: str) -> Callable[..., Any]:
        def act(*args: Any, **kwargs: Any) -> Any:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return real[name](*args, **kwargs)

        return act

    path = tmp_path / "last.ckpt"
    if first == "old":
        folder(path, "old")
    elif first == "file":
        path.write_text("oldold")
    for number, kill in enumerate(kills):
        part = tmp_path / f".{path.name}.part"
        if part.exists():
            shutil.rmtree(part)
        folder(part, f"new{number}")
        left[0] = kill
        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(os, name, guarded(name))
            try:
                replace_atomically(part, path)
                killed = False
            except Killed:
                killed = True
        if not killed:
            assert contents(path) == f"new{number}" * 2
    restore_interrupted(path)
    if not path.exists():
        assert first is None
        return
    found = path.read_text() if path.is_file() else contents(path)
    assert found in ("oldold", "new0new0", "new1new1")


def test_nothing_is_restored_where_there_is_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    restore_interrupted(path)
    assert not path.exists()
    folder(path, "new")
    folder(tmp_path / ".last.ckpt.old", "old")
    restore_interrupted(path)
    assert contents(path) == "newnew"
    shutil.rmtree(path)
    restore_interrupted(path)
    assert contents(path) == "oldold"
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("make", [folder, Path.write_text], ids=["folder", "file"])
def test_previous_checkpoint_is_what_the_last_one_was(tmp_path: Path, make: Callable[[Path, str], Any]) -> None:
    path, previous = tmp_path / "last.ckpt", tmp_path / "previous.ckpt"
    make(path, "1")
    for number in (2, 3):
        keep_as_previous(path)
        keep_as_previous(path)  # of a run that was killed again before it had saved another one
        part = tmp_path / ".last.ckpt.part"
        make(part, str(number))
        replace_atomically(part, path)
        before = previous.read_text() * 2 if previous.is_file() else contents(previous)
        assert before == str(number - 1) * 2
    assert {file.name for file in tmp_path.iterdir()} == {"last.ckpt", "previous.ckpt"}


def test_what_killed_runs_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = {"last.ckpt", "epoch=001.ckpt", "notes.part", ".hidden", "best.ckpt"}
    for name in {*kept, ".last.ckpt.a1b2c3d4.part", ".last.ckpt.old"} - {"best.ckpt"}:
        (tmp_path / name).write_text(name)
    for name in (".last.ckpt.part", ".epoch=001.ckpt.removed", "..last.ckpt.old.removed", ".best.ckpt.old"):
        folder(tmp_path / name, "x")
    remove_leftovers(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == kept
    assert contents(tmp_path / "best.ckpt") == "xx"  # whose replacement was killed halfway
