"""A checkpoint that replaces another leaves a whole one, whenever it is killed."""

import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sextant.checkpoint_files import replace_atomically, restore_interrupted


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
