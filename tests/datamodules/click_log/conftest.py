"""A small click log for each test."""

from pathlib import Path

import pytest

from tests.datamodules.click_log.small_logs import Row, draw_rows, write_csv


@pytest.fixture
def rows() -> list[Row]:
    return draw_rows(60)


@pytest.fixture
def root(tmp_path: Path, rows: list[Row]) -> Path:
    write_csv(tmp_path / "rows.csv", rows)
    return tmp_path
