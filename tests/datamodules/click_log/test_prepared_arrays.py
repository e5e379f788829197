"""Prepared arrays of a click log are made once, complete or not at all."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.clicks import preparation as click_preparation
from sextant.errors import InputError
from tests.datamodules.click_log.small_logs import draw_rows, log, write_csv
from tests.filesystem import listing, snapshot
from tests.processes import in_fork


def test_arrays_are_made_once_and_again_when_files_or_settings_change(root: Path) -> None:
    log(root).open()
    before = snapshot(root / "cache")
    log(root, batch_size=4, split="random", min_count=7, seed=3).open()
    assert snapshot(root / "cache").keys() == before.keys(), "what does not matter makes no new arrays"
    log(root, mapping="vocabulary").open()
    log(root, mapping="vocabulary", fractions=(0.5, 0.2, 0.3)).open()
    assert len(list((root / "cache").glob("clicks-*"))) == 3
    write_csv(root / "rows.csv", draw_rows(61))
    os.utime(root / "rows.csv", (1, 1))
    assert len(log(root).open()) == 61
    assert len(list((root / "cache").glob("clicks-*"))) == 3, "the outdated arrays are gone"
    assert not list((root / "cache").rglob("keys-*")), "what counting took is gone"


@pytest.mark.parametrize("changed", [{"min_count": 7}, {"split": "random"}, {"fractions": (0.5, 0.2, 0.3)}])
def test_vocabularies_are_counted_again_when_what_they_depend_on_changes(root: Path, changed: dict[str, Any]) -> None:
    log(root, mapping="vocabulary").open()
    kept = [path.name for path in (root / "cache").glob("clicks-*")]
    found = log(root, mapping="vocabulary", **changed).open()
    fresh = log(root, mapping="vocabulary", cache=str(root / "fresh"), **changed).open()
    assert found.folder.name not in kept
    rows = np.arange(60)
    assert [part.tolist() for part in found.ids(rows)] == [part.tolist() for part in fresh.ids(rows)]


def test_killed_preparation_leaves_nothing_that_counts(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(click_preparation, "_map", die)
    exit_code, _ = in_fork(lambda: log(root, mapping="vocabulary").open())
    assert exit_code == -signal.SIGKILL
    monkeypatch.undo()
    assert len(log(root, mapping="vocabulary").open()) == 60
    assert not [name for name in listing(root / "cache") if ".part" in name]


def test_full_disk_is_an_input_error_and_leaves_nothing(root: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, raised = in_fork(lambda: log(root).open(), largest_file=100)
    assert isinstance(raised, InputError)
    assert "could not be written as arrays" in str(raised)
    assert "--data.cache" in str(raised)
    assert listing(root / "cache") == []


def test_contents_say_how_many_rows_there_are(root: Path) -> None:
    contents = json.loads((log(root).open().folder / "contents.json").read_text())
    assert contents["rows"] == [60]
    assert contents["skipped"] == 0
