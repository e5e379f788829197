"""A setting of the Trainer does what it says, whatever the configuration gives beside it, or is one error."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, ModelSummary
from lightning.pytorch.plugins import MixedPrecision

from sextant.errors import InputError
from sextant.lightning_internals import callbacks_of
from sextant.resume.checkpoint_io import AtomicCheckpointIO
from sextant.resume.epoch_metrics import EpochMetrics
from sextant.resume.optimizer_settings import OptimizerSettings
from sextant.resume.partial_epoch import PartialEpoch
from tests.sextant.resume.interrupted import Folder, assert_same
from tests.trainer_keys import REFUSED, WORK

PRECISION = [
    "--trainer.plugins+=lightning.pytorch.plugins.MixedPrecision",
    "--trainer.plugins.precision=bf16-mixed",
    "--trainer.plugins.device=cuda",
]
SEEN = "--trainer.callbacks+=tests.recording.RecordBatches"


@pytest.fixture
def run(tmp_path: Path) -> Folder:
    """A run of the smallest workload, with a plugin that says the precision, as the workloads have it."""
    return Folder(tmp_path / "run", *PRECISION)


def files(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


ALONE = {"--trainer.logger=false", "--trainer.fast_dev_run=true"}


def test_settings_work_together(run: Folder) -> None:
    """Each by itself is tried with all workloads."""
    together = [arguments for arguments in WORK if arguments not in ALONE and "0.1" not in arguments]
    assert run.fit(*together).trainer.state.finished


def test_run_that_only_tries_out_leaves_nothing(run: Folder) -> None:
    assert run.fit("--trainer.fast_dev_run=true").trainer.state.finished
    assert not files(run.path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [pytest.param(*case, marks=[pytest.mark.slow] if i > 2 else []) for i, case in enumerate(REFUSED.items())],
)
def test_setting_that_cannot_hold_is_one_error(run: Folder, arguments: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        run.fit(arguments)


def test_precision_holds_in_place_of_a_plugin_also_for_batches(run: Folder) -> None:
    cli = run.fit("--trainer.precision=64-true")
    assert cli.model.network.weight.dtype == torch.float64  # which no batch of another type could have trained
    assert not isinstance(cli.trainer.precision_plugin, MixedPrecision)


def test_run_without_checkpoints_writes_none_and_keeps_its_log(run: Folder) -> None:
    trainer = run.fit("--trainer.enable_checkpointing=false", "--trainer.enable_model_summary=false").trainer
    assert not any(isinstance(callback, ModelSummary) for callback in callbacks_of(trainer))
    assert not list(run.path.rglob("*.ckpt"))
    assert (run.run / "config.yaml").exists()


def test_signal_ends_a_run_without_checkpoints(run: Folder) -> None:
    with pytest.raises(BaseException, match="Nothing is saved"):
        run.fit("--trainer.enable_checkpointing=false", "--stop_after=0.000001s")


def test_run_without_a_logger_has_no_log_and_its_checkpoints_as_ever(run: Folder) -> None:
    trainer = run.fit("--trainer.logger=false").trainer
    assert not any(isinstance(callback, LearningRateMonitor) for callback in callbacks_of(trainer))
    (folder,) = run.path.glob("logs/*/version_0")
    assert files(folder) == {".lock", "config.yaml", "run.json", "checkpoints/best.ckpt", "checkpoints/last.ckpt"}


def test_bare_run_has_neither_log_nor_checkpoints(run: Folder) -> None:
    run.fit("--trainer.barebones=true")
    assert {Path(file).name for file in files(run.path)} <= {".lock", "config.yaml", "run.json"}


def test_what_exact_resume_takes_stays_where_callbacks_and_plugins_are_replaced(run: Folder) -> None:
    trainer = run.fit("--trainer.callbacks=null", "--trainer.plugins=null").trainer
    for kind in (EpochMetrics, PartialEpoch, OptimizerSettings):
        assert [type(callback) for callback in callbacks_of(trainer)].count(kind) == 1
    assert isinstance(trainer.strategy.checkpoint_io, AtomicCheckpointIO)


def steps(folder: Folder) -> list[Any]:
    lines = (folder.path / "0.jsonl").read_text().splitlines()
    return [(epoch, batch) for split, epoch, batch in map(json.loads, lines) if split == "train"]


@pytest.mark.parametrize(("setting", "count"), [("3", 3), pytest.param("0.5", 2, marks=pytest.mark.slow), ("0.01", 1)])
def test_overfitting_repeats_the_first_batches_and_is_resumed_exactly(tmp_path: Path, setting: str, count: int) -> None:
    arguments = [f"--trainer.overfit_batches={setting}", "--model.optimizer.lr=0.001", "--trainer.max_epochs=3"]
    arguments += [SEEN, "--trainer.callbacks.folder=.", "--best_checkpoint.save_top_k=-1"]
    whole, run = Folder(tmp_path / "whole", *arguments), Folder(tmp_path / "run", *arguments)
    whole.fit()
    first = [batch for epoch, batch in steps(whole) if epoch == 0]
    assert len(first) == count
    assert steps(whole) == [(epoch, batch) for epoch in range(3) for batch in first]
    run.end("on_train_batch_end", count + 2, 0, "--recovery_checkpoint.every_n_steps=1")
    run.fit("--ckpt_path=last", "--recovery_checkpoint.every_n_steps=1")
    assert steps(run)[-count:] == steps(whole)[-count:]
    assert_same(whole, run)
