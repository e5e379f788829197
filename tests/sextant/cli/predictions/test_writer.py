"""The file of predictions."""

import csv
import hashlib
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from fsspec.implementations.local import LocalFileSystem
from lightning.pytorch import LightningModule
from pyarrow import parquet
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from sextant.cli.cli import SextantCLI
from sextant.cli.predictions import formats, sorted_lines
from sextant.cli.predictions.writer import PredictionWriter
from sextant.errors import InputError
from sextant.files.location import RemotePath
from sextant.loaders import TimedDataLoader
from sextant.memory import PeakMemory
from tests.datamodules.recorder import bare_trainer
from tests.processes import in_fork
from tests.ranks import Ranks
from tests.sextant.tiny import ARGUMENTS, Points, PointsData
from train import SHARED_CONFIG


class Rows(LightningModule):
    """Predicts what it is given, one row per sample; the fifth sample pads its batch.

    Args:
        at: does something, once in each process, in its second batch.
    """

    def __init__(self, at: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.at = at

    @override
    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> list[dict[str, Any] | None]:
        if batch_idx == 1:
            self.at()
        rows = [{"square": i * i, "parts": [i, "é"], "scores": torch.zeros(2)} for i in batch["index"].tolist()]
        return [None if row["square"] == 16 else row for row in rows]


class Numbers(Dataset):
    """Many samples, whose numbers may descend."""

    def __init__(self, size: int, backwards: bool) -> None:
        self.size = size
        self.backwards = backwards

    def __len__(self) -> int:
        return self.size

    @override
    def __getitem__(self, indices: list[int]) -> dict[str, Tensor]:
        index = torch.tensor(indices)
        return {"index": self.size - 1 - index if self.backwards else index}


class NumbersData(PointsData):
    def __init__(self, size: int, batch_size: int, backwards: bool = True) -> None:
        super().__init__(batch_size)
        self.numbers = Numbers(size, backwards)

    @override
    def predict_dataloader(self) -> TimedDataLoader:
        return self.loader(self.numbers)


class Texts(LightningModule):
    """Predicts texts that Parquet cannot make shorter."""

    @override
    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> list[dict[str, Any]]:
        return [{"text": hashlib.sha512(b"%d" % i).hexdigest()} for i in batch["index"].tolist()]


def predict(
    output: Path | RemotePath,
    module: LightningModule,
    data: PointsData | None = None,
    overwrite: bool = False,
    **options: Any,
) -> None:
    folder = output.parent if isinstance(output, Path) else Path.cwd()
    trainer = bare_trainer(folder, callbacks=[PredictionWriter(str(output), overwrite)], **options)
    trainer.predict(module, datamodule=data or PointsData(batch_size=3), return_predictions=False)


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_csv_has_a_row_for_each_sample_in_order_and_none_for_padding(tmp_path: Path) -> None:
    predict(tmp_path / "out.csv", Rows())
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["file"] for row in rows] == ["0", "1", "2", "3", "5", "6", "7"]
    assert rows[2] == {"file": "2", "square": "4", "parts": '[2, "é"]'}
    assert names(tmp_path) == ["out.csv"]


def test_json_lines_keep_lists(tmp_path: Path) -> None:
    predict(tmp_path / "out.jsonl", Rows())
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows[1] == {"file": "1", "square": 1, "parts": [1, "é"]}


def test_parquet_keeps_types(tmp_path: Path) -> None:
    class Typed(LightningModule):
        @override
        def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> list[dict[str, Any]]:
            return [{"square": i * i, "parts": [str(i), "é"]} for i in batch["index"].tolist()]

    predict(tmp_path / "out.parquet", Typed())
    rows = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert rows == [{"file": str(i), "square": i * i, "parts": [str(i), "é"]} for i in range(8)]
    assert names(tmp_path) == ["out.parquet"]


@pytest.mark.measures_memory
@pytest.mark.usefixtures("memory_kept_again")
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_memory_does_not_grow_with_the_rows_in_whatever_order_they_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """100,000 rows would take 60 MB as Python's objects, and 20 MB as text."""
    monkeypatch.setattr(sorted_lines, "HELD", 2**20)
    monkeypatch.setattr(sorted_lines, "MERGED", 10)
    monkeypatch.setattr(formats, "GROUP", 2**19)
    predict(tmp_path / f"first{suffix}", Texts(), NumbersData(5000, 1000))  # imports and caches
    measured = PeakMemory(torch.device("cpu"))
    predict(tmp_path / f"out{suffix}", Texts(), NumbersData(100_000, 1000))
    assert measured.peak() < 15
    if suffix == ".csv":
        numbers = [int(line.split(",")[0]) for line in (tmp_path / "out.csv").read_text().splitlines()[1:]]
        assert numbers == list(range(100_000))


def test_command_keeps_no_predictions_and_says_how_to_run_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["predict", *ARGUMENTS, "--random_weights=true", "--trainer.logger=false"]
    cli = SextantCLI(SHARED_CONFIG, words)
    assert cli.trainer.predict_loop.predictions == []
    file = tmp_path / "predictions.csv"
    file.write_text("before")
    with pytest.raises(InputError, match=r"predictions\.csv: it exists already\. .*--predictions\.overwrite=true"):
        SextantCLI(SHARED_CONFIG, words)
    assert file.read_text() == "before"
    SextantCLI(SHARED_CONFIG, [*words, "--predictions.overwrite=true"])
    assert len(file.read_text().splitlines()) == 1 + 8
    assert [name for name in names(tmp_path) if "predictions" in name] == ["predictions.csv"]


def test_nothing_is_predicted_where_the_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "there.csv").write_text("before")

    def never() -> None:
        raise AssertionError

    for name, message in {
        "file/out.csv": r"file/out\.csv: cannot write there",
        "folder.csv": r"folder\.csv: it is a folder",
        "there.csv": r"there\.csv: it exists already",
        "out.txt": r"out\.txt: its ending must be",
        f"{300 * 'x'}.csv": "cannot write there",
    }.items():
        with pytest.raises(InputError, match=message):
            predict(tmp_path / name, Rows(never))
    assert names(tmp_path) == ["file", "folder.csv", "there.csv"]
    assert (tmp_path / "there.csv").read_text() == "before"


def test_folders_are_made(tmp_path: Path) -> None:
    predict(tmp_path / "new" / "folder" / "out.csv", Rows())
    assert names(tmp_path / "new" / "folder") == ["out.csv"]


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("overwrite", [False, True])
def test_interrupted_run_leaves_the_file_as_it_was(tmp_path: Path, overwrite: bool) -> None:
    before = ["out.csv"] if overwrite else []
    for name in before:
        (tmp_path / name).write_text("before")
    with pytest.raises(SystemExit):  # what Lightning makes of Ctrl-C
        predict(tmp_path / "out.csv", Rows(interrupt), overwrite=overwrite)
    assert names(tmp_path) == before
    assert all((tmp_path / name).read_text() == "before" for name in before)


def test_killed_run_leaves_no_file_and_the_next_one_clears_up_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sorted_lines, "HELD", 1)  # rows are written at once
    output = tmp_path / "out.jsonl"
    code, _ = in_fork(lambda: predict(output, Rows(lambda: os.kill(os.getpid(), signal.SIGKILL))))
    assert code == -signal.SIGKILL
    assert names(tmp_path) == [".out.jsonl.parts"]
    predict(output, Rows(), PointsData(batch_size=8))
    assert names(tmp_path) == ["out.jsonl"]
    assert [json.loads(line)["square"] for line in output.read_text().splitlines()] == [0, 1, 4, 9, 25, 36, 49]


def test_two_runs_do_not_write_the_same_file(tmp_path: Path) -> None:
    output, found = tmp_path / "out.csv", list[BaseException | None]()
    predict(output, Rows(lambda: found.append(in_fork(lambda: predict(output, Rows()))[1])))
    assert "out.csv: another run is writing it" in str(found[0])
    assert len(output.read_text().splitlines()) == 1 + 7


def test_file_that_comes_during_the_run_is_not_replaced(tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    with pytest.raises(InputError, match="exists already"):
        predict(output, Rows(lambda: output.write_text("another's")))
    assert output.read_text() == "another's"
    assert names(tmp_path) == ["out.csv"]


@pytest.mark.parametrize(("held", "backwards"), [(1, False), (2**25, False), (2**12, True)])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_full_disk_is_one_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, held: int, backwards: bool
) -> None:
    """While rows come, after the last one, and while they are merged."""
    monkeypatch.setattr(sorted_lines, "HELD", held)
    output = tmp_path / f"out{suffix}"
    _, error = in_fork(lambda: predict(output, Texts(), NumbersData(2000, 100, backwards)), largest_file=2**17)
    assert isinstance(error, InputError)
    assert f"out{suffix}: the predictions could not be written" in str(error)
    assert "No file was left behind" in str(error)
    assert names(tmp_path) == []


def test_row_with_other_columns_ends_the_run_when_it_comes(tmp_path: Path) -> None:
    class Odd(LightningModule):
        last = -1

        @override
        def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> list[dict[str, Any]]:
            self.last = batch_idx
            return [{"a" if i < 5 else "b": i} for i in batch["index"].tolist()]

    module = Odd()
    with pytest.raises(InputError, match="prediction of 5 has other columns than the first one: a, b"):
        predict(tmp_path / "out.csv", module, PointsData(batch_size=2))
    assert module.last == 2
    assert names(tmp_path) == []


class OddlyNamedPoints(PointsData):
    """Samples whose files' names are Latin-1."""

    @override
    def sample_names(self, batch: dict[str, Any]) -> list[str]:
        return [os.fsdecode(b"caf\xe9 %d" % index) for index in batch["index"].tolist()]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_name_that_is_not_utf8_is_written_as_utf8_and_json_reads_it_back(tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"out.{suffix}"
    predict(output, Texts(), OddlyNamedPoints())
    if suffix == "parquet":
        assert parquet.read_table(output).to_pylist()[1]["file"] == "caf\\udce9 1"
        return
    lines = output.read_text(encoding="utf-8").splitlines()
    assert "caf\\udce9 1" in lines[1 if suffix == "jsonl" else 2]
    if suffix == "jsonl":
        assert os.fsencode(json.loads(lines[1])["file"]) == b"caf\xe9 1"


def of_two_processes(folder: Path) -> None:
    options: dict[str, Any] = {"strategy": "ddp", "devices": 2}
    data = {"out.jsonl": PointsData(batch_size=2), "back.csv": NumbersData(8, 2)}
    for name, of in data.items():
        predict(folder / name, Rows(), of, **options)
        for _ in range(2):
            with pytest.raises(InputError, match="exists already"):
                predict(folder / name, Rows(), of, **options)


def test_rows_of_two_processes_come_in_order_and_both_end_with_a_refusal(tmp_path: Path) -> None:
    ranks = Ranks(2, tmp_path / "log")
    try:
        ranks.run(of_two_processes, tmp_path)
    finally:
        ranks.close()
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["square"] for row in rows] == [0, 1, 4, 9, 25, 36, 49]
    back = list(csv.DictReader((tmp_path / "back.csv").read_text().splitlines()))
    assert [row["file"] for row in back] == ["0", "1", "2", "3", "5", "6", "7"]
    assert names(tmp_path) == ["back.csv", "log", "out.jsonl"]


class SharedDisk(LocalFileSystem):
    """A file system that all processes see, and that is not this machine's as far as they know."""

    protocol = "disk"

    @classmethod
    @override
    def _strip_protocol(cls, path: str) -> str:
        stripped: str = super()._strip_protocol(path.removeprefix("disk://"))
        return stripped


def to_url_of_two_processes(folder: Path) -> None:
    fsspec.register_implementation("disk", SharedDisk, clobber=True)
    url = RemotePath(f"disk://{folder}/out.jsonl")
    predict(url, Rows(), PointsData(batch_size=2), strategy="ddp", devices=2)
    with pytest.raises(InputError, match=r"disk://.*/out\.jsonl: it exists already"):
        predict(url, Rows(), PointsData(batch_size=2), strategy="ddp", devices=2)


def test_rows_of_two_processes_come_in_order_to_a_url(tmp_path: Path) -> None:
    ranks = Ranks(2, tmp_path / "log")
    try:
        ranks.run(to_url_of_two_processes, tmp_path)
    finally:
        ranks.close()
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["square"] for row in rows] == [0, 1, 4, 9, 25, 36, 49]
    assert names(tmp_path) == ["log", "out.jsonl"]


class MixedPoints(PointsData):
    """Batches in no order."""

    @override
    def predict_dataloader(self) -> TimedDataLoader:
        return self.loader(Points(), order=lambda **_: [[5, 7], [6, 2, 3], [1, 0]])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl"])
def test_rows_are_in_the_order_of_the_data_in_whatever_order_they_were_predicted(tmp_path: Path, name: str) -> None:
    predict(tmp_path / name, Rows(), MixedPoints())
    text = (tmp_path / name).read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader(text)) if name.endswith("csv") else [json.loads(line) for line in text]
    assert [(row["file"], int(row["square"])) for row in rows] == [(str(i), i * i) for i in (0, 1, 2, 3, 5, 6, 7)]
