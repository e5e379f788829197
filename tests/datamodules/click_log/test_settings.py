"""Settings and files that cannot be used are input errors."""

import re
from pathlib import Path
from typing import Any

import pytest

from sextant.errors import InputError
from tests.datamodules.click_log.small_logs import log


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "data.batch_size is 0"),
        ({"eval_batch_size": -1}, "data.eval_batch_size is -1"),
        ({"min_count": 0}, "data.encoding.min_count is 0"),
        ({"train": []}, "no training files"),
        ({"test": ["rows.csv"]}, "data.files.test names files and data.files.val none"),
        ({"table_sizes": {}, "multi_valued": []}, "There are no categorical columns"),
        ({"table_sizes": {"site": 1, "tags": 5}}, "table_sizes.site is 1"),
        ({"multi_valued": ["price"]}, "multi_valued names 'price'"),
        ({"dense": ["price", "site"]}, "The column 'site' is named more than once"),
        ({"fractions": [0.5, 0.5]}, "data.files.fractions is"),
        ({"num_workers": -1}, "data.num_workers is -1"),
    ],
)
def test_settings_that_cannot_be_are_input_errors(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        log(tmp_path, **options)


def test_missing_files_columns_and_rows_are_input_errors(root: Path) -> None:
    with pytest.raises(InputError, match=r"day_\*: there is no such file"):
        log(root, train=["day_*"]).open()
    with pytest.raises(InputError, match=r"rows.csv: there is no column 'cost' among ad, click, price"):
        log(root, dense=["cost"]).open()
    (root / "rows.csv").write_text("ad,click,price,site,unused,tags\n")
    with pytest.raises(InputError, match=r"there is not one row that can be used"):
        log(root).open()
