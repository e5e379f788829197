"""What the files say comes in the batches, however values are mapped to rows of tables."""

import gzip
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.clicks import preparation as click_preparation
from datamodules.clicks import vocabulary
from sextant.errors import InputError
from tests.datamodules.click_log.small_logs import (
    TABLES,
    Row,
    draw_rows,
    log,
    rows_of,
    values_of,
    write_csv,
    write_parquet,
)


def test_vocabulary_orders_values_by_how_often_training_rows_have_them(root: Path, rows: list[Row]) -> None:
    data = log(root, mapping="vocabulary", min_count=3, fractions=(0.5, 0.25, 0.25))
    data.setup("fit")
    data.setup("test")
    train = rows[:30]
    vocabularies = {}
    for name, values in values_of(train).items():
        counts = Counter(str(value) for row in values for value in row if value is not None)
        often = [value for value, count in counts.items() if count >= 3]
        vocabularies[name] = often
        # Values that come as often may be in either order: they are compared by their counts.
        assert len(often) < TABLES[name]
    for split, part in {"val": rows[30:45], "test": rows[45:]}.items():
        for found, (click, price, site, tags, ad) in zip(rows_of(data, split), part, strict=True):
            assert found[:2] == (click, [pytest.approx(price or 0)])
            by_table: list[list[Any]] = [[site], [*tags], [ad]]
            for name, ids, of_table in zip(TABLES, found[2:], by_table, strict=True):
                assert [i > 0 for i in ids] == [str(value) in vocabularies[name] for value in of_table]
    # An id for each value, the lowest for the most frequent one.
    batches = [batch["sparse"]["ad"].values().tolist() for batch in data.train_dataloader()]
    seen: dict[int, set[int]] = {}
    for i, ad in enumerate(ad for batch in batches for ad in batch):
        seen.setdefault(ad, set()).add(rows[i][4])
    assert all(len(ads) == 1 for number, ads in seen.items() if number)
    of_ads = Counter(row[4] for row in train)
    by_id = [of_ads[ads.copy().pop()] for number, ads in sorted(seen.items()) if number]
    assert by_id == sorted(by_id, reverse=True)


@pytest.mark.parametrize("mapping", ["hash", "vocabulary"])
def test_csv_gzipped_csv_and_parquet_give_the_same_rows(mapping: Any, root: Path, rows: list[Row]) -> None:
    (root / "packed.csv").write_bytes(gzip.compress((root / "rows.csv").read_bytes()))
    write_parquet(root / "rows.parquet", rows)
    found = []
    for file in ("rows.csv", "packed.csv", "rows.parquet"):
        data = log(root, train=[file], mapping=mapping)
        data.setup("validate")
        data.setup("test")
        found.append([rows_of(data, "val"), rows_of(data, "test")])
    assert found[0] == found[1] == found[2]
    assert sum(len(ids) for row in found[0][0] for ids in row[2:]) > 0
    for row in found[0][0]:
        for ids, size in zip(row[2:], TABLES.values(), strict=True):
            assert all(0 <= i < size for i in ids)


def test_hash_gives_the_same_row_to_the_same_value_alone(root: Path, rows: list[Row]) -> None:
    data = log(root, table_sizes=dict.fromkeys(TABLES, 100_003), fractions=(0, 1, 0))
    data.setup("validate")
    found = rows_of(data, "val")
    for place, values in enumerate(values_of(rows).values(), 2):
        ids: set[tuple[Any, int]] = set()
        for row, of_row in zip(found, values, strict=True):
            ids |= set(zip(of_row, row[place], strict=True))
        assert len(ids) == len({value for value, _ in ids}) == len({i for _, i in ids})
        assert all((value is None) == (i == 0) for value, i in ids)


def test_values_can_be_row_numbers_already(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("click,ad\n1,4\n0,\n1,8\n")
    data = log(tmp_path, dense=[], table_sizes={"ad": 9}, multi_valued=[], mapping="ids", fractions=(0, 1, 0))
    data.setup("validate")
    (batch,) = data.val_dataloader()
    assert batch["sparse"].values().tolist() == [4, 0, 8]
    assert batch["dense"].shape == (3, 0)
    (tmp_path / "rows.csv").write_text("click,ad\n1,4\n0,9\n")
    with pytest.raises(InputError, match=r"rows.csv:3: ad is '9', beyond its table of 9 rows"):
        data.setup("validate")


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_rows_are_gathered_as_they_are_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = tmp_path_factory.getbasetemp() / "gathered"
    root.mkdir(exist_ok=True)
    if not (root / "rows.csv").exists():
        write_csv(root / "rows.csv", draw_rows(40))
    columns = log(root).open()
    chosen = np.array(data.draw(st.lists(st.integers(0, 39), min_size=1, max_size=12)))
    values, lengths = columns.ids(chosen)
    assert lengths.shape == (3 * len(chosen),)
    assert lengths.sum() == len(values)
    found = np.split(values, lengths.cumsum())[:-1]
    for i, row in enumerate(chosen):
        alone_values, alone_lengths = columns.ids(np.array([row]))
        alone = np.split(alone_values, alone_lengths.cumsum())[:-1]
        for table in range(3):
            assert found[table * len(chosen) + i].tolist() == alone[table].tolist()


def test_vocabularies_do_not_depend_on_how_much_is_read_at_a_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for rows, held in ((2**18, 2**22), (7, 4)):
        monkeypatch.setattr(click_preparation, "ROWS", rows)
        monkeypatch.setattr(vocabulary.frequent_keys, "__defaults__", (held,))
        data = log(root, mapping="vocabulary", cache=str(root / f"cache-{rows}"), split="random")
        data.setup("validate")
        found.append(rows_of(data, "val"))
    assert found[0] == found[1]


@pytest.mark.parametrize("mapping", ["hash", "vocabulary", "ids"])
def test_integers_that_became_floats_are_the_same_users(mapping: Any, tmp_path: Path) -> None:
    users = [12345678, 7, 0, 7, 12345678]
    table = pa.table({"click": [1, 0, 1, 0, 1], "price": [0.5] * 5, "user": users})
    pq.write_table(table, tmp_path / "rows.parquet")
    missing = pa.table({"price": [0.5] * 6, "user": pa.array([*users, None], pa.float64())})
    pq.write_table(missing, tmp_path / "new.parquet")
    columns: dict[str, Any] = {"table_sizes": {"user": 20_000_000}, "multi_valued": []}
    found = []
    for predicted in ({}, {"predict": str(tmp_path / "new.parquet")}):
        files = {"train": ["rows.parquet"], "val": ["rows.parquet"], "test": ["rows.parquet"]}
        data = log(tmp_path, **files, **columns, **predicted, mapping=mapping)
        data.setup("predict")
        found.append(
            [i for batch in data.predict_dataloader() for i in batch["sparse"].values().tolist()][: len(users)]
        )
    assert found[0] == found[1]
    assert len(set(found[0])) == 3
    assert mapping != "ids" or found[0] == users


def test_vocabulary_fills_its_table_and_no_more(tmp_path: Path) -> None:
    """The least frequent values have no row of their own where there are more values than rows."""
    ads = [ad for ad in range(10) for _ in range(12 - ad)]
    lines = [f"1,{ad},{ad}|{ad}" for ad in ads]
    (tmp_path / "rows.csv").write_text("\n".join(["click,ad,tags", *lines, ""]))
    sizes = {"ad": 4, "tags": 7}
    files = {"train": ["rows.csv"], "val": ["rows.csv"]}
    data = log(tmp_path, **files, dense=[], table_sizes=sizes, multi_valued=["tags"], mapping="vocabulary")
    data.setup("validate")
    for batch in data.val_dataloader():
        for name, ids in batch["sparse"].to_dict().items():
            assert ids.values().max() < sizes[name]
    columns = data.open()
    values, lengths = columns.ids(np.arange(len(ads)))
    of_ads, of_tags = np.split(values, [len(ads)])
    assert of_ads.tolist() == [ad + 1 if ad < 3 else 0 for ad in ads]
    assert of_tags.tolist() == [tag + 1 if tag < 6 else 0 for tag in ads for _ in range(2)]
    assert lengths.tolist() == [1] * len(ads) + [2] * len(ads)
