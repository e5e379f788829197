"""The line that an epoch leaves."""

import logging
import re
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from typing_extensions import override

from callbacks.terminal.epoch_table import PAGE, EpochTable
from tests.callbacks.small_run import Plain, loader, trainer


class Measured(Plain):
    """It logs its loss, and in validations a metric that becomes better in each."""

    @override
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.log("train/loss", 12.34567)
        return super().training_step(batch, batch_idx)

    @override
    def on_validation_epoch_end(self) -> None:
        self.log("val/top", self.current_epoch / 10)


def lines(caplog: pytest.LogCaptureFixture, folder: Path, *callbacks: Any, **options: Any) -> list[list[str]]:
    with caplog.at_level(logging.INFO, logger="lightning.pytorch"):
        trainer(folder, EpochTable(), *callbacks, num_sanity_val_steps=0, **options).fit(Measured(), loader(), loader())
    written = [line for record in caplog.records for line in record.getMessage().splitlines()]
    return [line.split() for line in written if re.match(r"\s+(epoch\s+steps|\d+/\d+)\s", line)]


def test_line_has_the_losses_and_the_best_value_so_far(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    best = ModelCheckpoint(tmp_path / "best", monitor="val/top", mode="min")
    head, *rows = lines(caplog, tmp_path, best, max_epochs=3, enable_checkpointing=True)
    assert head == ["epoch", "steps", "train/loss", "val/loss", "val/top", "best"]
    assert [row[:3] for row in rows] == [["1/3", "2", "12.35"], ["2/3", "4", "12.35"], ["3/3", "6", "12.35"]]
    assert [row[4:] for row in rows] == [["0", "0"], ["0.1", "0"], ["0.2", "0"]]


def test_names_come_again_where_the_columns_change_and_after_a_page(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    best = ModelCheckpoint(tmp_path / "best", monitor="val/top", mode="min")
    options = {"max_epochs": PAGE + 3, "check_val_every_n_epoch": 2, "enable_checkpointing": True}
    found = lines(caplog, tmp_path, best, **options)
    heads = [number for number, line in enumerate(found) if line[0] == "epoch"]
    assert heads == [0, 2, PAGE + 3]  # the first validation brings columns
    assert "val/top" not in found[0]
    assert "val/top" in found[2]
    for head, row in ((0, 1), (2, 3), (2, PAGE + 2), (PAGE + 3, PAGE + 4)):
        assert len(found[head]) == len(found[row])
