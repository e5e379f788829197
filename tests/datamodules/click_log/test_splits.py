"""Rows of the splits of a click log, and of the file to predict."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from sextant.errors import InputError
from tests.datamodules.click_log.small_logs import Row, draw_rows, log, rows_of, write_csv, write_parquet


def test_files_of_their_own_are_the_splits_and_are_ordered_by_number(tmp_path: Path) -> None:
    rows = draw_rows(50)
    for day in range(12):
        name = f"day_{day}.csv" if day < 11 else "after.csv"
        write_csv(tmp_path / name, rows[4 * day : 4 * day + 4])
    data = log(tmp_path, train=["day_*.csv"], val=["after.csv"], mapping="vocabulary")
    data.setup("fit")
    train, val = (loader.dataset for loader in (data.train_dataloader(), data.val_dataloader()))
    assert train.columns.labels(np.arange(48)).tolist() == [row[0] for row in rows[:48]]  # type: ignore[attr-defined]
    assert (len(train), len(val)) == (44, 4)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"there are no rows for 'test'"):
        data.setup("test")


@pytest.mark.parametrize(
    ("patterns", "order"),
    [
        (["*.csv"], ["2.csv", "010.csv", "a9_1.csv", "a9_20.csv", "a10_3.csv"]),
        (["a*", "2.csv", "0*"], ["a9_1.csv", "a9_20.csv", "a10_3.csv", "2.csv", "010.csv"]),
    ],
)
def test_files_are_read_pattern_by_pattern_and_those_of_one_by_the_numbers_in_their_names(
    tmp_path: Path, patterns: list[str], order: list[str]
) -> None:
    """However many numbers a name has, and however many digits they have."""
    for name in ("a10_3.csv", "2.csv", "a9_20.csv", "010.csv", "a9_1.csv"):
        write_csv(tmp_path / name, draw_rows(1))
    columns = log(tmp_path, train=patterns).open()
    assert columns.names(np.arange(len(order))) == [f"{tmp_path / name}:2" for name in order]


def test_random_split_is_the_same_for_every_seed(root: Path) -> None:
    found = []
    for seed in (1, 2):
        data = log(root, split="random", seed=seed)
        data.setup("test")
        found.append(rows_of(data, "test"))
    assert found[0] == found[1]
    chronological = log(root)
    chronological.setup("test")
    assert found[0] != rows_of(chronological, "test")


@pytest.mark.parametrize(("mapping", "place"), [("hash", None), ("vocabulary", None), ("hash", "new.parquet")])
def test_predicted_file_may_lack_labels_and_uses_the_tables_of_training(
    mapping: Any, place: str | None, root: Path, rows: list[Row]
) -> None:
    """It is given by its path, or by that within the root."""
    data = log(root, mapping=mapping, fractions=(0.5, 0.5, 0))
    data.setup("validate")
    expected = rows_of(data, "val")
    write_parquet(root / "new.parquet", rows[30:])
    table = pq.read_table(root / "new.parquet").drop_columns(["click"])
    pq.write_table(table, root / "new.parquet")
    predicting = log(root, mapping=mapping, fractions=(0.5, 0.5, 0), predict=place or str(root / "new.parquet"))
    predicting.setup("predict")
    found = rows_of(predicting, "predict")
    assert [row[1:] for row in found] == [row[1:] for row in expected]
    assert {row[0] for row in found} == {None}
    dataset: Any = predicting.predict_dataloader().dataset
    assert dataset.columns.names(np.array([0, 29])) == [
        f"{root / 'new.parquet'}, row 1",
        f"{root / 'new.parquet'}, row 30",
    ]
    with pytest.raises(InputError, match=r"nowhere: there is no such file, neither .* \(data.files.predict\)"):
        log(root, predict="nowhere").setup("predict")


def test_without_a_file_the_rows_for_tests_are_predicted(root: Path) -> None:
    data = log(root)
    data.setup("test")
    data.setup("predict")
    assert rows_of(data, "predict") == rows_of(data, "test")


def test_prediction_is_proposed_on_a_file_where_there_are_no_rows_for_it(root: Path) -> None:
    whole, without = log(root), log(root, fractions=(0.5, 0.5, 0))
    whole.setup("fit")
    without.setup("fit")
    assert whole.prediction_example() == []
    assert without.prediction_example() == [f"--data.files.predict={root / 'rows.csv'}"]
    with pytest.raises(InputError, match=r"no rows for 'test'\. Name data\.files\.predict, which is one file, or give"):
        without.setup("predict")
