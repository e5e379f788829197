"""Invalid lines stop a run or are left out, and rows are named by file and line all the same."""

import re
from pathlib import Path

import numpy as np
import pytest

from sextant.errors import InputError
from tests.datamodules.click_log.small_logs import Row, log
from tests.filesystem import listing


def test_rows_are_named_by_file_and_line_also_after_lines_that_were_left_out(root: Path, rows: list[Row]) -> None:
    lines = (root / "rows.csv").read_text().splitlines()
    for number in (2, 3, 10):
        lines[number - 1] = "bad"
    (root / "a.csv").write_text("\n".join(lines[:31]) + "\n")
    (root / "b.csv").write_text("\n".join([lines[0], *lines[31:], "too,short"]) + "\n")
    data = log(root, train=["?.csv"], invalid_samples="skip")
    with pytest.warns(UserWarning, match=r"4 of 61 lines cannot be used:\n.*a.csv:2: 1 columns instead of 6"):
        columns = data.open()
    assert len(columns) == 57
    assert columns.names(np.array([0, 5, 6, 26, 27, 56])) == [
        f"{root / name}" for name in ("a.csv:4", "a.csv:9", "a.csv:11", "a.csv:31", "b.csv:2", "b.csv:31")
    ]
    kept = [row for i, row in enumerate(rows, 2) if i not in (2, 3, 10)]
    assert columns.labels(np.arange(57)).tolist() == [row[0] for row in kept]
    with pytest.raises(InputError, match=r"a.csv:2: 1 columns instead of 6. .* --data.invalid_samples=skip"):
        log(root, train=["?.csv"]).open()


def test_lines_that_are_left_out_are_said_each_time_and_stop_a_run_that_shall_stop(root: Path) -> None:
    with (root / "rows.csv").open("a") as file:
        file.write("bad\n")
    for _ in range(2):
        with pytest.warns(UserWarning, match="1 of 61 lines cannot be used"):
            log(root, invalid_samples="skip").open()
    with pytest.raises(InputError, match=r"rows.csv:62: 1 columns instead of 6"):
        log(root).open()


def test_invalid_line_of_a_later_block_stops_with_its_number_and_leaves_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datamodules.clicks.reader.BLOCK", 200)
    lines = (root / "rows.csv").read_text().splitlines()
    lines[50] = lines[50].replace(",1,", ",7,", 1).replace(",0,", ",7,", 1)
    (root / "rows.csv").write_text("\n".join(lines))
    with pytest.raises(InputError, match=re.escape(f"{root / 'rows.csv'}:51: the label (click) is 7, not 0 or 1")):
        log(root).open()
    assert listing(root / "cache") == []
