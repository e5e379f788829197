"""Callbacks in a run: interrupts, checkpoints, predictions, and what is left behind."""

import csv
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from datamodules.tiny_imagenet import TinyImageNet
from modules.resnet import ImageClassifier
from sextant.cli.prediction_writer import PredictionWriter
from sextant.resume.checkpoint_io import AtomicCheckpointIO
from sextant.resume.recovery_checkpoint import RecoveryCheckpoint


class BreakAt(Callback):
    """Do something at the start of a step."""

    def __init__(self, step: int, action: Any) -> None:
        self.step = step
        self.action = action

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.step:
            self.action(batch)


@pytest.fixture
def data(tiny_imagenet: Path, cache: Path) -> TinyImageNet:
    return TinyImageNet(root=str(tiny_imagenet), cache=str(cache), batch_size=16)


@pytest.fixture
def model() -> ImageClassifier:
    torch.manual_seed(0)
    return ImageClassifier(num_classes=10)


def trainer(folder: Path, *callbacks: Callback, **options: Any) -> Trainer:
    return Trainer(
        default_root_dir=folder,
        max_epochs=2,
        accelerator="cpu",
        callbacks=list(callbacks),
        plugins=[AtomicCheckpointIO()],
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=1,
        **{"logger": True} | options,
    )


def checkpoints(folder: Path) -> Iterator[Path]:
    return folder.glob("lightning_logs/*/checkpoints/*.ckpt")


def note_saves(run: Trainer, data: TinyImageNet) -> list[tuple[int, int]]:
    """A list that grows with each checkpoint by the optimizer steps and the batches of the epoch that were done."""
    written: list[tuple[int, int]] = []
    save = run.save_checkpoint

    def note(*args: Any, **kwargs: Any) -> None:
        written.append((run.global_step, sum(steps for steps, _ in data.state_dict()["done"])))
        save(*args, **kwargs)

    run.save_checkpoint = note  # type: ignore[method-assign]
    return written


def test_interrupt_finishes_the_step_and_writes_a_checkpoint_to_go_on_from(
    tmp_path: Path, data: TinyImageNet, model: ImageClassifier
) -> None:
    press = BreakAt(7, lambda batch: os.kill(os.getpid(), signal.SIGINT))
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit):  # as Lightning ends after an interrupt
            trainer(tmp_path, press, RecoveryCheckpoint(every_n_minutes=0)).fit(model, data)
    finally:
        signal.signal(signal.SIGINT, handler)
    (last,) = checkpoints(tmp_path)
    saved = torch.load(last, weights_only=True)
    assert saved["global_step"] == 8
    assert saved["TinyImageNet"] == {"epoch": 1, "done": [[3, 1]]}


def test_second_interrupt_stops_at_once() -> None:
    recovery = RecoveryCheckpoint()
    recovery._interrupt(signal.SIGINT, None)
    with pytest.raises(KeyboardInterrupt):
        recovery._interrupt(signal.SIGINT, None)


def test_terminated_run_writes_a_checkpoint_to_go_on_from(
    tmp_path: Path, data: TinyImageNet, model: ImageClassifier
) -> None:
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    terminate = BreakAt(7, lambda batch: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SIGTERMException):
        trainer(tmp_path, terminate, RecoveryCheckpoint(every_n_minutes=0)).fit(model, data)
    (last,) = checkpoints(tmp_path)
    assert torch.load(last, weights_only=True)["TinyImageNet"] == {"epoch": 1, "done": [[3, 1]]}


def test_checkpoint_is_written_when_the_last_one_is_old(
    tmp_path: Path, data: TinyImageNet, model: ImageClassifier
) -> None:
    recovery = RecoveryCheckpoint(every_n_minutes=0.05 / 60)
    rest = BreakAt(2, lambda batch: time.sleep(0.06))
    run = trainer(tmp_path, rest, recovery, limit_train_batches=4)
    written = note_saves(run, data)
    run.fit(model, data)
    assert {3, 4, 8} <= {step for step, _ in written}


def test_accumulating_run_saves_after_whole_steps_only(
    tmp_path: Path, data: TinyImageNet, model: ImageClassifier
) -> None:
    run = trainer(tmp_path, RecoveryCheckpoint(every_n_steps=1), accumulate_grad_batches=2)
    written = note_saves(run, data)
    run.fit(model, data)
    assert written == [(1, 2), (2, 4), (3, 0), (4, 2), (5, 4), (6, 0)]


def test_failed_prediction_leaves_the_previous_file(
    tmp_path: Path, data: TinyImageNet, model: ImageClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.csv"
    output.write_text("previous")

    def fail(batch: Any, batch_idx: int) -> None:
        raise RuntimeError("stop")

    monkeypatch.setattr(model, "predict_step", fail)
    with pytest.raises(RuntimeError, match="stop"):
        trainer(tmp_path, PredictionWriter(str(output)), logger=False).predict(model, data)
    assert output.read_text() == "previous"
    assert {file.name for file in tmp_path.iterdir()} == {"out.csv"}


def test_predictions_are_in_the_order_of_the_data(tmp_path: Path, data: TinyImageNet, model: ImageClassifier) -> None:
    output = tmp_path / "new" / "out.csv"
    trainer(tmp_path, PredictionWriter(str(output)), logger=False).predict(model, data)
    rows = list(csv.DictReader(output.read_text().splitlines()))
    assert [row["file"] for row in rows] == sorted(row["file"] for row in rows)
    assert len(rows) == 20
