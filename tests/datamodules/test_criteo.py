"""Criteo's format: every value of the file comes in the batches, and what is bad is named."""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.steps import make
from datamodules.clicks.settings import LogFiles
from datamodules.criteo import VALUES, Criteo
from datamodules.synthetic import criteo as synthetic_set
from sextant.errors import InputError


def open_criteo(
    root: Path, tmp_path: Path, train: Sequence[str] = ("train.txt",), predict: str | None = None, **options: Any
) -> Criteo:
    files = LogFiles(train=train, predict=predict, fractions=(0.6, 0.2, 0.2))
    fixed: dict[str, Any] = {"batch_size": 8, "eval_batch_size": 8}
    data = Criteo(root=str(root), files=files, cache=str(tmp_path / "cache"), **(fixed | options))
    data.setup("fit")
    data.setup("test")
    return data


def lines_of(file: Path) -> list[list[str]]:
    return [line.split("\t") for line in file.read_text().splitlines()]


@pytest.mark.parametrize("packed", [False, True])
def test_batches_hold_what_the_lines_say(packed: bool, criteo: Path, tmp_path: Path) -> None:
    lines = lines_of(criteo / "train.txt")
    root = criteo
    if packed:
        root = tmp_path / "packed"
        root.mkdir()
        (root / "day_0.gz").write_bytes(gzip.compress((criteo / "train.txt").read_bytes()))
    data = open_criteo(root, tmp_path, train=["day_*"] if packed else ["train.txt"], table_sizes=50)
    seen: dict[tuple[str, str], set[int]] = {}
    for start, loader in ((42, data.val_dataloader()), (56, data.test_dataloader())):
        for batch in loader:
            tables = {name: ids.values() for name, ids in batch["sparse"].to_dict().items()}
            for i, place in enumerate(batch["index"].tolist()):
                label, *values = lines[start + place]
                assert batch["label"][i].item() == int(label)
                counts = torch.tensor([max(0, int(value or 0)) for value in values[:13]])
                torch.testing.assert_close(batch["dense"][i], torch.log1p(counts.float()))
                for name, value in zip(data.table_sizes, values[13:], strict=True):
                    found = int(tables[name][i])
                    assert 0 <= found < data.table_sizes[name]
                    if not value:
                        assert found == 0
                    elif found:
                        seen.setdefault((name, value), set()).add(found)
            assert loader.dataset.columns.names(np.array([start]))[0].endswith(f":{start + 1}")  # type: ignore[attr-defined]
    assert all(len(ids) == 1 for ids in seen.values())
    assert len(seen) > 100


def test_tables_have_a_row_more_than_criteo_has_values_up_to_a_limit() -> None:
    assert list(VALUES) == [f"C{i}" for i in range(1, 27)]
    assert sum(VALUES.values()) == 33_762_577  # the rows of all tables in facebookresearch/dlrm
    sizes = Criteo(table_sizes=1000).table_sizes
    assert sizes["C1"] == sizes["C3"] == 1000
    assert sizes["C2"] == 584
    assert sizes["C9"] == 4
    given = {name: i for i, name in enumerate(VALUES, 2)}
    assert Criteo(table_sizes=given).table_sizes == given
    assert Criteo().dense_features == [f"I{i}" for i in range(1, 14)]


def test_settings_can_be_given_as_arguments() -> None:
    data = make(
        Criteo,
        {
            "class_path": "datamodules.criteo.Criteo",
            "init_args": {
                "table_sizes": 7,
                "files": {"train": ["day_*"], "fractions": [0.7, 0.2, 0.1], "split": "random"},
                "encoding": {"min_count": 3},
            },
        },
    )
    assert data.table_sizes["C1"] == 7
    assert data.files.by_split == {"train": ["day_*"]}
    assert (data.files.split, data.files.fractions) == ("random", [0.7, 0.2, 0.1])
    assert data.input_description()["mapping"] == "vocabulary"  # the default of what is not given
    assert data.input_description()["dense_transform"] == "log1p"
    sizes = dict.fromkeys(VALUES, 9)
    data = make(Criteo, {"class_path": "datamodules.criteo.Criteo", "init_args": {"table_sizes": sizes}})
    assert data.table_sizes == sizes


def bad_file(criteo: Path, tmp_path: Path, change: tuple[int, str]) -> Path:
    """The small data with another value in a column of line 7."""
    lines = lines_of(criteo / "train.txt")
    column, value = change
    lines[6][column] = value
    root = tmp_path / "bad"
    root.mkdir()
    (root / "train.txt").write_text("".join("\t".join(line) + "\n" for line in lines))
    return root


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ((0, "2"), "the label (label) is 2, not 0 or 1"),
        ((0, "0\t1"), "41 columns instead of 40"),
        ((3, "many"), "I3 is 'many', not a number"),
        ((13, "nan"), "I13 is nan, not a finite number"),
        ((14, "68fd1e6g"), "C1 is '68fd1e6g', not a hexadecimal number of up to 8 digits"),
        ((39, "0x12"), "C26 is '0x12', not a hexadecimal number of up to 8 digits"),
    ],
)
def test_bad_lines_stop_or_are_left_out(change: tuple[int, str], why: str, criteo: Path, tmp_path: Path) -> None:
    root = bad_file(criteo, tmp_path, change)
    with pytest.raises(InputError) as stopped:
        open_criteo(root, tmp_path)
    assert str(stopped.value).startswith(f"{root / 'train.txt'}:7: {why}. ")
    with pytest.warns(UserWarning, match="1 of 70 lines cannot be used") as warned:
        data = open_criteo(root, tmp_path, invalid_samples="skip")
    assert f"{root / 'train.txt'}:7: {why}" in str(warned[0].message)
    assert len(data.open()) == 69


def test_row_with_a_column_missing_stops(criteo: Path, tmp_path: Path) -> None:
    lines = (criteo / "train.txt").read_text().splitlines()
    (tmp_path / "train.txt").write_text("\n".join([lines[0], lines[1].rsplit("\t", 1)[0], *lines[2:]]))
    with pytest.raises(InputError, match=r"train.txt:2: 39 columns instead of 40"):
        open_criteo(tmp_path, tmp_path)


def test_labeled_files_must_have_labels(criteo: Path, tmp_path: Path) -> None:
    lines = lines_of(criteo / "train.txt")
    (tmp_path / "train.txt").write_text("".join("\t".join(line[1:]) + "\n" for line in lines))
    with pytest.raises(InputError, match=r"train.txt: there is no column 'label'"):
        open_criteo(tmp_path, tmp_path)


def test_predicted_file_is_kaggles_test_file_without_labels(criteo: Path, tmp_path: Path) -> None:
    lines = lines_of(criteo / "train.txt")[-14:]
    (tmp_path / "test.txt").write_text("".join("\t".join(line[1:]) + "\n" for line in lines))
    data = open_criteo(criteo, tmp_path, predict=str(tmp_path / "test.txt"))
    data.setup("predict")
    for found, known in zip(data.predict_dataloader(), data.test_dataloader(), strict=True):
        assert "label" not in found
        assert torch.equal(found["dense"], known["dense"])
        assert torch.equal(found["sparse"].values(), known["sparse"].values())


def test_missing_files_say_where_criteo_is_to_be_had(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"kaggle\.com/c/criteo-display-ad-challenge") as stopped:
        open_criteo(tmp_path, tmp_path)
    for part in (f"{tmp_path}/train.txt", "--data.root", "--data.synthetic=true", "huggingface.co/datasets/criteo"):
        assert part in str(stopped.value)


def test_synthetic_data_is_made_and_its_best_auc_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make_all = synthetic_set.make
    monkeypatch.setattr(synthetic_set, "make", lambda folder: make_all(folder, rows=500))
    data = Criteo(synthetic=True, cache=str(tmp_path), table_sizes=50)
    assert data.synthetic
    data.prepare_data()
    with caplog.at_level("INFO"):
        data.setup("fit")
    best = synthetic_set.best_auc(tmp_path / synthetic_set.FOLDER, np.arange(400, 450))
    assert f"AUC of about {best:.4f}" in caplog.text
