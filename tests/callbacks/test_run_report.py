"""The report of a run."""

import logging
import re
from pathlib import Path

import pytest
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader
from typing_extensions import override

from callbacks.run_report import SYNTHETIC_NOTICE, RunReport
from sextant.resume.checkpoint_io import AtomicCheckpointIO
from sextant.resume.recovery_checkpoint import RecoveryCheckpoint
from tests.callbacks.small_run import Plain, loader, logged, trainer


class Images(LightningDataModule):
    """Data that says whether it was generated."""

    def __init__(self, synthetic: bool) -> None:
        super().__init__()
        self.synthetic = synthetic

    @override
    def train_dataloader(self) -> DataLoader:
        return loader()


@pytest.mark.parametrize("synthetic", [False, True])
def test_synthetic_data_is_called_so_on_the_terminal_and_in_tensorboard(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, synthetic: bool
) -> None:
    run = trainer(tmp_path, RunReport())
    with caplog.at_level(logging.INFO, logger="lightning.pytorch"):
        run.fit(Plain(), Images(synthetic))
    assert (SYNTHETIC_NOTICE in caplog.text) == synthetic
    assert ("run/data/text_summary" in logged(run).Tags()["tensors"]) == synthetic


def test_end_of_a_run_says_what_was_done_and_where_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    callbacks = (RunReport(), RecoveryCheckpoint())
    run = trainer(tmp_path, *callbacks, plugins=[AtomicCheckpointIO()], enable_checkpointing=True, max_epochs=2)
    with caplog.at_level(logging.INFO, logger="lightning.pytorch"):
        run.fit(Plain(), loader())
    assert re.search(r"Steps done: 4, epochs: 2, in 0:\d\d\n", caplog.text)
    assert f"Last checkpoint: {run.log_dir}/checkpoints/last.ckpt" in caplog.text
    assert f"tensorboard --logdir {run.log_dir}" in caplog.text


def test_end_of_a_run_within_an_epoch_says_how_much_of_it_was_done(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    callbacks = (RunReport(), RecoveryCheckpoint())
    run = trainer(tmp_path, *callbacks, enable_checkpointing=True, max_epochs=None, max_steps=3)
    with caplog.at_level(logging.INFO, logger="lightning.pytorch"):
        run.fit(Plain(), loader())
    assert "Steps done: 3, epochs: 1 and 1 of 2 batches of the next, in " in caplog.text


@pytest.mark.parametrize("synthetic", [False, True])
def test_end_of_a_run_says_once_more_that_data_was_generated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, synthetic: bool
) -> None:
    run = trainer(
        tmp_path, RunReport(), RecoveryCheckpoint(), plugins=[AtomicCheckpointIO()], enable_checkpointing=True
    )
    with caplog.at_level(logging.INFO, logger="lightning.pytorch"):
        run.fit(Plain(), Images(synthetic))
    (report,) = (record.getMessage() for record in caplog.records if "Steps done" in record.getMessage())
    assert report.endswith(SYNTHETIC_NOTICE) == synthetic
