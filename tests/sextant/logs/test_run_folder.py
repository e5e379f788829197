"""A run has a folder of its own whatever logs it, from the moment at which training begins."""

import csv
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from sextant.errors import InputError
from sextant.logs.run_folder import new_folder
from tests.filesystem import listing
from tests.sextant.resume.interrupted import Folder, assert_same
from tests.sextant.tiny import ARGUMENTS
from train import main

CSV = "--trainer.logger=CSVLogger"
FIT = ["--data.batch_size=2", "--trainer.log_every_n_steps=1"]
BOTH = """
trainer:
  logger:
    - class_path: lightning.pytorch.loggers.CSVLogger
      init_args: {save_dir: logs, name: tiny}
    - class_path: lightning.pytorch.loggers.TensorBoardLogger
      init_args: {save_dir: elsewhere, default_hp_metric: false}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a command of the smallest workload in the folder of the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    return lambda command, *more: main([command, *ARGUMENTS, *(FIT if command == "fit" else []), *more])


def table(file: Path) -> list[dict[str, str]]:
    """The rows of a CSVLogger but for the speed."""
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return [{key: value for key, value in row.items() if not key.startswith("throughput")} for row in rows]


def test_runs_that_begin_at_once_have_different_folders(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as threads:
        found = set(threads.map(lambda _: new_folder(tmp_path / "runs"), range(48)))
    assert {folder.name for folder in found} == {f"version_{number}" for number in range(48)}


def test_new_folder_comes_after_all_others_whatever_else_is_there(tmp_path: Path) -> None:
    for name in ("version_2", "version_10", "version_x", "kept"):
        (tmp_path / name).mkdir()
    assert new_folder(tmp_path).name == "version_11"
    assert new_folder(tmp_path, "mine").name == "mine"
    with pytest.raises(InputError, match=r"mine: this is the folder of another run\. Give --ckpt_path"):
        new_folder(tmp_path, "mine")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="no folder can be made for the run"):
        new_folder(tmp_path / "file")


def test_killed_run_of_a_csv_logger_goes_on_with_its_table(tmp_path: Path) -> None:
    whole, killed = (Folder(tmp_path / name, CSV, "--trainer.max_epochs=3") for name in ("whole", "killed"))
    whole.fit()
    # It goes on from step 3, when the table had no columns of a validation, which are in the killed run's.
    killed.end(
        "on_train_batch_end", 5, 0, "--recovery_checkpoint.every_n_steps=3", "--recovery_checkpoint.keep_epochs=[9]"
    )
    killed.fit(f"--ckpt_path={killed.run / 'checkpoints' / 'previous.ckpt'}")
    assert_same(whole, killed)
    assert table(killed.run / "metrics.csv") == table(whole.run / "metrics.csv")
    assert [folder.name for folder in killed.run.parent.iterdir()] == ["version_0"]


def test_loggers_of_a_list_write_into_one_folder_in_which_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "both.yaml").write_text(BOTH)
    run = Folder(tmp_path / "run", f"--config={tmp_path / 'both.yaml'}", "--trainer.max_epochs=2")
    run.arguments.remove("--trainer.logger.name=tiny")
    run.end("on_train_batch_end", 6)
    monkeypatch.chdir(run.path)
    main(["test", *run.arguments, "--ckpt_path=last"])
    run.fit("--ckpt_path=auto")
    assert [entry.name for entry in run.path.iterdir()] == ["logs"]
    assert [entry.name for entry in run.run.parent.iterdir()] == ["version_0"]
    rows = [row for row in table(run.run / "metrics.csv") if row["train/loss_step"]]
    losses = [(int(row["step"]), float(row["train/loss_step"])) for row in rows]
    assert [step for step, _ in losses] == list(range(8))
    shown = run.points()["train/loss_step"]
    assert [(step, pytest.approx(loss)) for step, loss in losses] == shown
    assert {"best.ckpt", "last.ckpt", "previous.ckpt"} <= {file.name for file in (run.run / "checkpoints").iterdir()}
    assert (run.run / "config.yaml").exists()
    assert len(run.points()["test/loss"]) == len(table(run.run / "metrics_test.csv")) == 1  # and is not cut off


def test_run_without_a_logger_has_its_folder_too(run: Any, tmp_path: Path) -> None:
    alone = ("--name=tiny", "--trainer.callbacks=null", "--trainer.logger=false")
    run("fit", *alone, "--trainer.max_steps=3")
    folder = tmp_path / "logs" / "tiny" / "version_0"
    assert {".lock", "config.yaml", "run.json", "checkpoints"} == {entry.name for entry in folder.iterdir()}
    cli = run("fit", *alone, "--ckpt_path=last", "--settings_from=command", "--trainer.max_epochs=2")
    assert cli.trainer.global_step == 8
    assert cli.trainer.log_dir == "logs/tiny/version_0"


def test_commands_that_fail_before_training_leave_nothing(run: Any, tmp_path: Path) -> None:
    for wrong in (
        "--data.batch_size=0",
        "--trainer.callbacks+=callbacks.table_summary.TableSummary",
        "--stop_after=soon",
    ):
        with pytest.raises(InputError):
            run("fit", wrong)
    assert listing(tmp_path) == []


def test_commands_that_use_a_model_write_into_the_run_of_its_checkpoint_or_nowhere(run: Any, tmp_path: Path) -> None:
    run("fit", CSV)
    folder = tmp_path / "logs" / "tiny" / "version_0"
    before = (folder / "metrics.csv").read_bytes()
    run("test", CSV, "--ckpt_path=last")
    assert (folder / "metrics.csv").read_bytes() == before
    assert [list(row) for row in table(folder / "metrics_test.csv")] == [["epoch", "step", "test/loss"]]
    elsewhere = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    torch.save(elsewhere, tmp_path / "elsewhere.ckpt")
    there = listing(tmp_path)
    run("validate", CSV, f"--ckpt_path={tmp_path / 'elsewhere.ckpt'}")
    assert listing(tmp_path) == there


@pytest.mark.slow
def test_folder_that_the_command_names_is_that_of_no_other_run(run: Any, tmp_path: Path) -> None:
    run("fit", CSV, "--trainer.logger.version=mine")
    with pytest.raises(InputError, match=r"logs/tiny/mine: this is the folder of another run"):
        run("fit", CSV, "--trainer.logger.version=mine")
    run(
        "fit",
        CSV,
        "--trainer.logger.version=mine",
        "--ckpt_path=last",
        "--settings_from=command",
        "--trainer.max_epochs=2",
    )
    assert len(table(tmp_path / "logs" / "tiny" / "mine" / "metrics.csv")) == 2 * (2 * 4 + 2)
