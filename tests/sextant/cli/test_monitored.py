"""Metrics that are looked at and not measured are found before a run."""

from pathlib import Path

import pytest

from sextant.errors import InputError
from tests.sextant.resume.interrupted import Folder


@pytest.mark.parametrize(
    "arguments",
    [
        ["--best_checkpoint.monitor=val/lossy"],
        ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/lossy"],
    ],
)
def test_metric_that_no_validation_measures_is_named_before_training(tmp_path: Path, arguments: list[str]) -> None:
    with pytest.raises(InputError, match=r"monitor is val/lossy, .* Did you mean val/loss\? There are: val/loss\."):
        Folder(tmp_path / "run").fit(*arguments)
    assert not list((tmp_path / "run").glob("logs/*/*"))
