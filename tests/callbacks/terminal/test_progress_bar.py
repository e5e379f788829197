"""The bar on the terminal."""

import io
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor
from typing_extensions import override

from callbacks.terminal.progress_bar import ProgressBar
from tests.callbacks.small_run import Plain, loader, trainer


class Screen(io.StringIO):
    """A terminal, or a file."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    @override
    def isatty(self) -> bool:
        return self._is_terminal


class Measured(Plain):
    @override
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.log_dict({"samples/s": 1234.5, "train/loss_step": loss, "val/top": 0.25}, prog_bar=True, logger=False)
        return loss


def drawn(folder: Path, monkeypatch: pytest.MonkeyPatch, is_terminal: bool) -> str:
    screen = Screen(is_terminal)
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "120")
    trainer(folder, ProgressBar(), enable_progress_bar=True, max_epochs=3).fit(Measured(), loader(), loader())
    return screen.getvalue()


def test_bar_counts_epochs_from_one_and_shows_the_time_left_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = drawn(tmp_path, monkeypatch, is_terminal=True)
    assert re.findall(r"Epoch (\d+)/3", shown)[0] == "1"
    assert set(re.findall(r"Epoch (\d+)/", shown)) == {"1", "2", "3"}
    assert re.search(r"\| 2/2, left=0:0\d, loss=\d\.\d+, val/top=0\.25\d*, samples/s=1,234\b", shown)
    assert "v_num" not in shown


def test_file_has_no_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Epoch" not in drawn(tmp_path, monkeypatch, is_terminal=False)
