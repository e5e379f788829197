"""When the checkpoint to resume from is written."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger
from typing_extensions import override

from sextant import signals
from sextant.resume.recovery_checkpoint import RecoveryCheckpoint
from sextant.signals import Stopped
from tests.datamodules.recorder import Recorder
from tests.sextant.tiny import PointsData

pytestmark = pytest.mark.usefixtures("usual_signals")


class Watches(Callback):
    """Keeps the steps of ``last.ckpt`` before each batch, and sends signals before one."""

    def __init__(self, folder: Path, signal_at: int = 0, times: int = 1, number: int = signal.SIGINT) -> None:
        self.file = folder / "checkpoints" / "last.ckpt"
        self.signal_at = signal_at
        self.times = times
        self.number = number
        self.steps: list[int] = []

    @override
    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        step = torch.load(self.file, weights_only=True)["global_step"] if self.file.exists() else 0
        self.steps.append(step)
        if trainer.global_step + 1 == self.signal_at:
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)


def fit(folder: Path, watches: Watches, accumulated: int = 1, **options: Any) -> None:
    """Two epochs of four batches."""
    trainer = Trainer(
        accelerator="cpu",
        logger=CSVLogger(folder, name="", version=""),
        callbacks=[watches, RecoveryCheckpoint(**options)],
        max_epochs=2,
        accumulate_grad_batches=accumulated,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(Recorder(), datamodule=PointsData(batch_size=2))


def test_it_is_written_every_so_many_steps_and_at_the_end_of_an_epoch(tmp_path: Path) -> None:
    watches = Watches(tmp_path)
    fit(tmp_path, watches, every_n_steps=3, keep_epochs=[1])
    assert watches.steps == [0, 0, 0, 3, 4, 4, 6, 6]
    files = {file.name: torch.load(file, weights_only=True) for file in (tmp_path / "checkpoints").iterdir()}
    assert {"last.ckpt", "epoch=001.ckpt"} <= files.keys()
    assert files["last.ckpt"]["global_step"] == 8
    assert files["epoch=001.ckpt"]["global_step"] == 4


def test_it_is_written_when_the_last_one_is_old(tmp_path: Path) -> None:
    watches = Watches(tmp_path)
    fit(tmp_path, watches, every_n_minutes=1e-9)
    assert watches.steps == [0, 1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signal_writes_it_after_the_step_with_the_position_in_the_data(tmp_path: Path, number: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Stopped, match=r"after 2 steps\.\nSaved .*last\.ckpt") as end:
        fit(tmp_path, Watches(tmp_path, signal_at=2, number=number))
    assert end.value.exit_code == 128 + number
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 2
    assert saved["PointsData"] == {"epoch": 0, "done": [[2, 1]]}
    assert signal.getsignal(number) == before


def test_signal_between_accumulated_batches_writes_it_after_the_whole_step(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        fit(tmp_path, Watches(tmp_path, signal_at=2), accumulated=2)
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert (saved["global_step"], saved["PointsData"]) == (2, {"epoch": 1, "done": []})


def test_limit_of_a_command_ends_it_as_a_signal_does(tmp_path: Path) -> None:
    with pytest.raises(Stopped, match="Stopped by SIGUSR1 after 1 steps") as end:
        fit(tmp_path, Watches(tmp_path), stop_after="0.000001s")
    assert end.value.exit_code == 128 + signal.SIGUSR1


def test_it_is_written_after_whole_steps_of_accumulated_gradients_only(tmp_path: Path) -> None:
    watches = Watches(tmp_path)
    fit(tmp_path, watches, accumulated=2, every_n_steps=1)
    assert watches.steps == [0, 0, 1, 1, 2, 2, 3, 3]
    assert torch.load(watches.file, weights_only=True)["PointsData"] == {"epoch": 2, "done": []}


def test_last_one_that_the_run_did_not_write_does_not_become_the_previous_one(tmp_path: Path) -> None:
    """The last one of another run may be damaged, and its previous one the only whole one."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    torch.save({"global_step": 90}, folder / "last.ckpt")
    torch.save({"global_step": 80}, folder / "previous.ckpt")
    for options, steps in (({}, {"last": 2, "previous": 80}), ({"every_n_steps": 1}, {"last": 2, "previous": 1})):
        with pytest.raises(Stopped):
            fit(tmp_path, Watches(tmp_path, signal_at=2), **options)
        found = {name: torch.load(folder / f"{name}.ckpt", weights_only=True)["global_step"] for name in steps}
        assert found == steps


def test_request_that_is_passed_on_counts_once(tmp_path: Path) -> None:
    """By torchrun or uv, beside the terminal or the scheduler."""
    with pytest.raises(Stopped):
        fit(tmp_path, Watches(tmp_path, signal_at=2, times=2))
    assert (tmp_path / "checkpoints" / "last.ckpt").exists()


def test_second_signal_stops_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "REPEATED", 0.0)
    with pytest.raises(Stopped):
        fit(tmp_path, Watches(tmp_path, signal_at=2, times=2))
    assert not (tmp_path / "checkpoints" / "last.ckpt").exists()
