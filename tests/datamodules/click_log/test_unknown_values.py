"""Tests and predictions say what part of their values the vocabulary of the training rows does not have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datamodules.clicks import preparation as click_preparation
from tests.datamodules.click_log.small_logs import log

COLUMNS: dict[str, Any] = {
    "dense": [],
    "table_sizes": {"user": 20, "tags": 20},
    "multi_valued": ["tags"],
    "mapping": "vocabulary",
}


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The messages since the last call."""
    caplog.set_level("INFO")

    def messages() -> list[str]:
        found = [message for message in caplog.messages if "unknown" in message]
        caplog.clear()
        return found

    return messages


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Training rows with users 1 to 3 and the tags a to c, test rows with others too, and rows to predict."""
    train = ["1,1,a|b", "0,2,c", "1,3,", "0,1,a"]
    test = ["1,1,a|x|b", "0,9,", "1,,x", "0,2.0,c"]
    for name, lines in {"train": train, "val": train, "test": test, "new": [*test, "0,8,a"]}.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(["click,user,tags", *lines, ""]))
    return tmp_path


@pytest.mark.parametrize("rows", [1, 3, 2**18])
def test_fraction_of_unknown_values_is_said_each_time(
    root: Path, said: Callable[[], list[str]], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(click_preparation, "ROWS", rows)
    options = COLUMNS | {"train": ["train.csv"], "val": ["val.csv"], "test": ["test.csv"]}
    in_test = (
        "Of the 8 categorical values in the test rows 37.50% are unknown, not in the vocabulary of the training rows "
        "(tags 40.0%, user 33.3%)."
    )
    for stage in ("test", "predict", "test"):
        log(root, **options).setup(stage)
        assert said() == [in_test]
    log(root, **options).setup("validate")
    assert said() == [
        "Of the 8 categorical values in the val rows 0.00% are unknown, not in the vocabulary of the training rows."
    ]
    log(root, **options, predict=str(root / "new.csv")).setup("predict")
    (message,) = said()
    assert message.startswith("Of the 10 categorical values in the predict rows 40.00% are unknown")
    log(root, **options).setup("fit")
    log(root, **options | {"mapping": "hash"}).setup("test")
    assert said() == []


@pytest.mark.parametrize("split", ["chronological", "random"])
def test_unknown_values_of_a_split_of_one_file_are_those_of_its_rows(
    tmp_path: Path, said: Callable[[], list[str]], split: str
) -> None:
    lines = [f"1,{user},{user}|{user + 1}" for user in range(40)]
    (tmp_path / "rows.csv").write_text("\n".join(["click,user,tags", *lines, ""]))
    data = log(tmp_path, **COLUMNS | {"table_sizes": {"user": 99, "tags": 99}, "split": split}, fractions=(0.5, 0, 0.5))
    data.setup("test")
    columns = data.open()
    users = columns.portions["test"].rows(np.arange(20)).tolist()
    known = {user for user in range(40) if user not in users}
    unknown = len(users) + sum(tag not in known | {user + 1 for user in known} for u in users for tag in (u, u + 1))
    (message,) = said()
    assert f"Of the 60 categorical values in the test rows {unknown / 60:.2%} are unknown" in message
    assert "(user 100.0%, tags " in message


def test_column_without_a_known_value_is_warned_of(root: Path) -> None:
    table = pa.table({"user": ["u1", "u2", None], "tags": [["a"], None, ["x"]]})
    pq.write_table(table, root / "new.parquet")
    data = log(root, **COLUMNS, train=["train.csv"], val=["val.csv"], predict=str(root / "new.parquet"))
    with pytest.warns(UserWarning, match="No value of user in the predict rows is in the vocabulary"):
        data.setup("predict")
