"""Clicks from CSV and Parquet: what the files say comes in the batches, each row once and from the right line."""

import gzip
import json
import os
import pickle
import random
import re
import signal
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.click_log import ClickLog
from datamodules.clicks import dictionary as value_dictionary
from datamodules.clicks import preparation as click_preparation
from datamodules.clicks.settings import Columns, Encoding, LogFiles
from sextant.errors import InputError
from tests.datamodules.recorder import Recorder, bare_trainer
from tests.filesystem import listing, snapshot
from tests.processes import in_fork

TABLES = {"site": 12, "tags": 40, "ad": 9}
Row = tuple[int, float | None, str | None, list[str], int]  # click, price, site, tags, ad


def draw_rows(count: int, seed: int = 0) -> list[Row]:
    draw = random.Random(seed)
    return [
        (
            draw.randrange(2),
            draw.choice([None, round(draw.uniform(0, 9), 3)]),
            draw.choice([None, "a", "b", "c", "dd"]),
            [f"t{draw.randrange(20)}" for _ in range(draw.randrange(4))],
            draw.randrange(5),
        )
        for _ in range(count)
    ]


def write_csv(file: Path, rows: list[Row]) -> Path:
    lines = ["ad,click,price,site,unused,tags"]
    for click, price, site, tags, ad in rows:
        lines.append(f"{ad},{click},{'' if price is None else price},{site or ''},x,{'|'.join(tags)}")
    file.write_text("\n".join(lines) + "\n")
    return file


def write_parquet(file: Path, rows: list[Row]) -> Path:
    names = ["click", "price", "site", "tags", "ad"]
    columns: dict[str, Any] = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns), file, row_group_size=13)
    return file


def log(root: Path, **options: Any) -> ClickLog:
    """The data of the files in a folder; settings of all groups are given side by side."""
    fixed: dict[str, Any] = {
        "train": ["rows.csv"],
        "label": "click",
        "dense": ["price"],
        "table_sizes": TABLES,
        "multi_valued": ["tags"],
        "cache": str(root / "cache"),
        "batch_size": 8,
        "eval_batch_size": 8,
        "shuffle": False,
    }
    given = fixed | options
    groups = {
        name: group(**{each.name: given.pop(each.name) for each in fields(group) if each.name in given})
        for name, group in {"files": LogFiles, "columns": Columns, "encoding": Encoding}.items()
    }
    return ClickLog(root=str(root), **groups, **given)


def values_of(rows: list[Row]) -> dict[str, list[list[Any]]]:
    """The values of each table, row by row."""
    return {"site": [[row[2]] for row in rows], "tags": [[*row[3]] for row in rows], "ad": [[row[4]] for row in rows]}


def rows_of(data: ClickLog, split: str) -> list[tuple[Any, ...]]:
    """All rows of a split with weight: label, number, and the ids by table."""
    loader = {"val": data.val_dataloader, "test": data.test_dataloader, "predict": data.predict_dataloader}[split]()
    found = []
    for batch in loader:
        by_table = {name: ids.to_dense() for name, ids in batch["sparse"].to_dict().items()}
        for i, weight in enumerate(batch["weight"].tolist()):
            if weight:
                ids = [tuple(by_table[name][i].tolist()) for name in TABLES]
                label = batch["label"][i].item() if "label" in batch else None
                found.append((label, batch["dense"][i].tolist(), *ids))
    return found


@pytest.fixture
def rows() -> list[Row]:
    return draw_rows(60)


@pytest.fixture
def root(tmp_path: Path, rows: list[Row]) -> Path:
    write_csv(tmp_path / "rows.csv", rows)
    return tmp_path


def test_dictionary_numbers_values_by_how_often_training_rows_have_them(root: Path, rows: list[Row]) -> None:
    data = log(root, mapping="dictionary", min_count=3, fractions=(0.5, 0.25, 0.25))
    data.setup("fit")
    data.setup("test")
    train = rows[:30]
    dictionaries = {}
    for name, values in values_of(train).items():
        counts = Counter(str(value) for row in values for value in row if value is not None)
        often = [value for value, count in counts.items() if count >= 3]
        dictionaries[name] = often
        # Values that come as often may be in either order: they are compared by their counts.
        assert len(often) < TABLES[name]
    for split, part in {"val": rows[30:45], "test": rows[45:]}.items():
        for found, (click, price, site, tags, ad) in zip(rows_of(data, split), part, strict=True):
            assert found[:2] == (click, [pytest.approx(price or 0)])
            by_table: list[list[Any]] = [[site], [*tags], [ad]]
            for name, ids, of_table in zip(TABLES, found[2:], by_table, strict=True):
                assert [i > 0 for i in ids] == [str(value) in dictionaries[name] for value in of_table]
    # An id for each value, the lowest for the most frequent one.
    batches = [batch["sparse"]["ad"].values().tolist() for batch in data.train_dataloader()]
    seen: dict[int, set[int]] = {}
    for i, ad in enumerate(ad for batch in batches for ad in batch):
        seen.setdefault(ad, set()).add(rows[i][4])
    assert all(len(ads) == 1 for number, ads in seen.items() if number)
    of_ads = Counter(row[4] for row in train)
    by_id = [of_ads[ads.copy().pop()] for number, ads in sorted(seen.items()) if number]
    assert by_id == sorted(by_id, reverse=True)


@pytest.mark.parametrize("mapping", ["hash", "dictionary"])
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


def test_batch_is_what_models_expect(root: Path) -> None:
    data = log(root, shuffle=True, fractions=(0.8, 0.2, 0))
    data.setup("fit")
    loader = data.train_dataloader()
    assert len(loader) == 6
    for batch in loader:
        assert batch["dense"].dtype == batch["label"].dtype == batch["weight"].dtype == torch.float32
        assert batch["dense"].shape == (8, 1)
        assert batch["index"].dtype == torch.int64
        assert batch["label"].shape == batch["weight"].shape == batch["index"].shape == (8,)
        assert set(batch["label"].tolist()) <= {0, 1}
        sparse = batch["sparse"]
        assert sparse.keys() == list(TABLES) == list(data.table_sizes)
        assert sparse.stride() == 8
        assert sparse.lengths().dtype == sparse.values().dtype == torch.int32
    assert data.dense_features == ["price"]


def test_epochs_of_training_differ_and_are_shuffled(root: Path) -> None:
    data = log(root, shuffle=True, batch_size=7, seed=5)
    data.setup("fit")
    loader = data.train_dataloader()
    epochs = []
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        epochs.append([i for batch in loader for i in batch["index"].tolist()])
        assert len(set(epochs[-1])) == len(epochs[-1]) == 42
    assert len({str(order) for order in epochs}) == 3
    assert len({frozenset(order) for order in epochs}) == 3, "other rows are left out"


def test_workers_give_the_batches_that_the_process_itself_gives(root: Path) -> None:
    found = []
    for num_workers in (0, 2):
        data = log(root, num_workers=num_workers, fractions=(0.4, 0.6, 0))
        data.setup("fit")
        found.append([(b["index"].tolist(), b["sparse"].values().tolist()) for b in data.val_dataloader()])
    assert found[0] == found[1]
    dataset: Any = data.val_dataloader().dataset
    columns = pickle.loads(pickle.dumps(dataset.columns))
    assert columns.dense(np.arange(3)).shape == (3, 1)


def test_padding_of_a_batch_has_no_weight(root: Path) -> None:
    data = log(root, fractions=(0.3, 0.7, 0))
    data.setup("validate")
    rows: Any = data.val_dataloader().dataset
    batch = rows[np.array([3, 5, ~5])]
    assert batch["weight"].tolist() == [1, 1, 0]
    assert batch["index"].tolist() == [3, 5, 5]


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


def test_bad_line_of_a_later_block_stops_with_its_number_and_leaves_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datamodules.clicks.reader.BLOCK", 200)
    lines = (root / "rows.csv").read_text().splitlines()
    lines[50] = lines[50].replace(",1,", ",7,", 1).replace(",0,", ",7,", 1)
    (root / "rows.csv").write_text("\n".join(lines))
    with pytest.raises(InputError, match=re.escape(f"{root / 'rows.csv'}:51: the label (click) is 7, not 0 or 1")):
        log(root).open()
    assert listing(root / "cache") == []


def test_names_of_rows_in_a_fit_are_those_of_its_splits(root: Path, tmp_path: Path) -> None:
    data = log(root)
    trainer = bare_trainer(tmp_path, max_epochs=1)
    names = []

    class Namer(Recorder):
        def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
            names.append(("train", data.sample_names(batch)[0]))
            return super().training_step(batch, batch_idx)

        def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
            names.append(("val", data.sample_names(batch)[0]))

    trainer.fit(Namer(), data)
    assert ("train", f"{root / 'rows.csv'}:2") in names
    assert names.count(("val", f"{root / 'rows.csv'}:50")) == 2  # the sanity check's too


def test_killed_epoch_is_gone_on_with(root: Path, tmp_path: Path) -> None:
    whole, killed = Recorder(), Recorder()
    bare_trainer(tmp_path, max_epochs=2, limit_val_batches=0).fit(whole, log(root, shuffle=True))
    bare_trainer(tmp_path, max_steps=8, limit_val_batches=0).fit(killed, log(root, shuffle=True))
    data = log(root, shuffle=True)
    data.load_state_dict(killed.positions[-1])
    data.setup("fit")
    remaining = [batch["index"].tolist() for batch in data.train_dataloader()]
    assert killed.positions[-1] == {"epoch": 1, "done": [[2, 1]]}
    assert killed.batches + remaining == whole.batches


def test_files_of_their_own_are_the_splits_and_are_ordered_by_number(tmp_path: Path) -> None:
    rows = draw_rows(50)
    for day in range(12):
        write_csv(tmp_path / f"day_{day}.csv", rows[4 * day : 4 * day + 4])
    data = log(tmp_path, train=["day_?.csv", "day_10.csv"], val=["day_11.csv"], mapping="dictionary")
    data.setup("fit")
    train, val = (loader.dataset for loader in (data.train_dataloader(), data.val_dataloader()))
    assert train.columns.labels(np.arange(48)).tolist() == [row[0] for row in rows[:48]]  # type: ignore[attr-defined]
    assert (len(train), len(val)) == (44, 4)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"there are no rows for 'test'"):
        data.setup("test")


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


@pytest.mark.parametrize("mapping", ["hash", "dictionary"])
def test_predicted_file_may_lack_labels_and_uses_the_tables_of_training(
    mapping: Any, root: Path, rows: list[Row]
) -> None:
    data = log(root, mapping=mapping, fractions=(0.5, 0.5, 0))
    data.setup("validate")
    expected = rows_of(data, "val")
    write_parquet(root / "new.parquet", rows[30:])
    table = pq.read_table(root / "new.parquet").drop_columns(["click"])
    pq.write_table(table, root / "new.parquet")
    predicting = log(root, mapping=mapping, fractions=(0.5, 0.5, 0), predict=str(root / "new.parquet"))
    predicting.setup("predict")
    found = rows_of(predicting, "predict")
    assert [row[1:] for row in found] == [row[1:] for row in expected]
    assert {row[0] for row in found} == {None}
    dataset: Any = predicting.predict_dataloader().dataset
    assert dataset.columns.names(np.array([0, 29])) == [
        f"{root / 'new.parquet'}, row 1",
        f"{root / 'new.parquet'}, row 30",
    ]
    with pytest.raises(InputError, match=r"nowhere: there is no such file \(data.files.predict\)"):
        log(root, predict="nowhere").setup("predict")


def test_without_a_file_the_rows_for_tests_are_predicted(root: Path) -> None:
    data = log(root)
    data.setup("test")
    data.setup("predict")
    assert rows_of(data, "predict") == rows_of(data, "test")


def test_arrays_are_made_once_and_again_when_files_or_settings_change(root: Path) -> None:
    log(root).open()
    before = snapshot(root / "cache")
    log(root, batch_size=4, split="random", min_count=7, seed=3).open()
    assert snapshot(root / "cache").keys() == before.keys(), "what does not matter makes no new arrays"
    log(root, mapping="dictionary").open()
    log(root, mapping="dictionary", fractions=(0.5, 0.2, 0.3)).open()
    assert len(list((root / "cache").glob("clicks-*"))) == 3
    write_csv(root / "rows.csv", draw_rows(61))
    os.utime(root / "rows.csv", (1, 1))
    assert len(log(root).open()) == 61
    assert len(list((root / "cache").glob("clicks-*"))) == 3, "the outdated arrays are gone"
    assert not list((root / "cache").rglob("keys-*")), "what counting took is gone"


def test_killed_preparation_leaves_nothing_that_counts(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(click_preparation, "_map", die)
    exit_code, _ = in_fork(lambda: log(root, mapping="dictionary").open())
    assert exit_code == -signal.SIGKILL
    monkeypatch.undo()
    assert len(log(root, mapping="dictionary").open()) == 60
    assert not [name for name in listing(root / "cache") if ".part" in name]


def test_full_disk_is_an_input_error_and_leaves_nothing(root: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, raised = in_fork(lambda: log(root).open(), largest_file=100)
    assert isinstance(raised, InputError)
    assert "could not be written as numbers" in str(raised)
    assert "--data.cache" in str(raised)
    assert listing(root / "cache") == []


def test_dictionaries_do_not_depend_on_how_much_is_read_at_a_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for rows, held in ((2**18, 2**22), (7, 4)):
        monkeypatch.setattr(click_preparation, "ROWS", rows)
        monkeypatch.setattr(value_dictionary.frequent_keys, "__defaults__", (held,))
        data = log(root, mapping="dictionary", cache=str(root / f"cache-{rows}"), split="random")
        data.setup("validate")
        found.append(rows_of(data, "val"))
    assert found[0] == found[1]


def test_contents_say_how_many_rows_there_are(root: Path) -> None:
    contents = json.loads((log(root).open().folder / "contents.json").read_text())
    assert contents["rows"] == [60]
    assert contents["skipped"] == 0


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
