"""The file of predictions."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from typing_extensions import override

from sextant.cli.prediction_writer import PredictionWriter
from sextant.errors import InputError
from sextant.loaders import TimedDataLoader
from tests.datamodules.recorder import bare_trainer
from tests.sextant.tiny import Points, PointsData


class Rows(LightningModule):
    """Predicts what it is given, one row per sample; the fifth sample pads its batch."""

    def __init__(self, fail_at: int = 99) -> None:
        super().__init__()
        self.fail_at = fail_at

    @override
    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> list[dict[str, Any] | None]:
        if batch_idx == self.fail_at:
            raise KeyboardInterrupt
        rows = [{"square": i * i, "parts": [i, "é"], "scores": torch.zeros(2)} for i in batch["index"].tolist()]
        return [None if row["square"] == 16 else row for row in rows]


def predict(output: Path, module: LightningModule) -> None:
    trainer = bare_trainer(output.parent, callbacks=[PredictionWriter(str(output))])
    trainer.predict(module, datamodule=PointsData(batch_size=3))


def test_csv_has_a_row_for_each_sample_in_order_and_none_for_padding(tmp_path: Path) -> None:
    predict(tmp_path / "out.csv", Rows())
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["file"] for row in rows] == ["0", "1", "2", "3", "5", "6", "7"]
    assert rows[2] == {"file": "2", "square": "4", "parts": '[2, "é"]'}
    assert [file.name for file in tmp_path.iterdir()] == ["out.csv"]


def test_json_lines_keep_lists(tmp_path: Path) -> None:
    predict(tmp_path / "out.jsonl", Rows())
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows[1] == {"file": "1", "square": 1, "parts": [1, "é"]}


class OddlyNamedPoints(PointsData):
    """Samples whose files' names are Latin-1."""

    @override
    def sample_names(self, batch: dict[str, Any]) -> list[str]:
        return [os.fsdecode(b"caf\xe9 %d" % index) for index in batch["index"].tolist()]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_name_that_is_not_utf8_is_written_as_utf8_and_json_reads_it_back(tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"out.{suffix}"
    trainer = bare_trainer(tmp_path, callbacks=[PredictionWriter(str(output))])
    trainer.predict(Rows(), datamodule=OddlyNamedPoints(batch_size=3))
    lines = output.read_text(encoding="utf-8").splitlines()
    assert "caf\\udce9 1" in lines[1 if suffix == "jsonl" else 2]
    if suffix == "jsonl":
        assert os.fsencode(json.loads(lines[1])["file"]) == b"caf\xe9 1"


def test_file_is_as_it_was_where_a_run_is_interrupted(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("before")
    with pytest.raises(SystemExit):  # what Lightning makes of Ctrl-C
        predict(tmp_path / "out.csv", Rows(fail_at=1))
    assert (tmp_path / "out.csv").read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["out.csv"]


def test_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/out\.csv: cannot write there"):
        predict(tmp_path / "file" / "out.csv", Rows())


def test_folder_of_that_name_is_named_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it is a folder"):
        predict(tmp_path, Rows())


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl"])
def test_file_whose_name_is_not_utf_8_is_a_row_as_any_other(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = os.fsdecode(b"caf\xe9.png")
    monkeypatch.setattr(PointsData, "sample_names", lambda data, batch: [odd] * len(batch["index"]))
    predict(tmp_path / name, Rows())
    text = (tmp_path / name).read_text(encoding="utf-8")
    assert text.count(r"caf\udce9.png") == 7
    if name == "out.jsonl":
        assert [json.loads(line)["file"] for line in text.splitlines()] == [odd] * 7


class Backwards(PointsData):
    """Batches of which the last samples come first."""

    @override
    def predict_dataloader(self) -> TimedDataLoader:
        return self.loader(Points(), order=lambda **_: [[5, 7], [6, 2, 3], [1, 0]])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl"])
def test_rows_are_in_the_order_of_the_data_in_whatever_order_they_were_predicted(tmp_path: Path, name: str) -> None:
    trainer = bare_trainer(tmp_path, callbacks=[PredictionWriter(str(tmp_path / name))])
    trainer.predict(Rows(), datamodule=Backwards())
    text = (tmp_path / name).read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader(text)) if name.endswith("csv") else [json.loads(line) for line in text]
    assert [(row["file"], int(row["square"])) for row in rows] == [(str(i), i * i) for i in (0, 1, 2, 3, 5, 6, 7)]
