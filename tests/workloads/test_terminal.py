"""What every workload writes to the terminal, or into a file, where nothing goes wrong."""

import re
import shlex
import shutil
import sys

import pytest

from tests.workloads.runs import Run
from train import main


def lines(whole: Run) -> list[str]:
    """Those that are not drawn by a progress bar."""
    return [line for line in whole.log.splitlines() if line.strip() and not re.search(r"%\||examples/s|ba/s", line)]


def test_start_is_about_ten_lines_of_ours(whole: Run) -> None:
    written = lines(whole)
    start = written[: next(number for number, line in enumerate(written) if line.split()[:2] == ["epoch", "steps"])]
    layers = [line for line in start if line.startswith("  ")]
    assert len(start) - len(layers) <= 10, start
    assert not re.search(r"litlogger|GPU available|Seed set|Warning|_pytree|_metrics|\?", "\n".join(start))
    for about in (
        r"^Data: \w+, .*\d train and \d+ val samples",
        r"^Device: CPU, 1 process, precision ",
        r"^Run: logs/",
    ):
        assert any(re.search(about, line) for line in start), about
    assert re.search(r"^\w+: [\d.]+( [kM])? parameters.* [\d.]+ [kMG]\s+FLOPs", "\n".join(start), re.M)


def test_start_and_epochs_fit_a_terminal_of_80_columns(whole: Run) -> None:
    written = lines(whole)
    end = next(number for number, line in enumerate(written) if line.startswith("Steps done"))
    assert not [line for line in written[:end] if len(line) > 80 and "/" not in line]  # paths are not broken


def test_each_epoch_has_a_line_that_stays(whole: Run) -> None:
    head, *rows = [line.split() for line in lines(whole) if re.match(r"\s+(epoch\s+steps|\d+/\d+)\s", line)]
    assert [row[0] for row in rows] == [f"{epoch + 1}/{whole.epochs}" for epoch in range(whole.epochs)]
    points = whole.scalars()["val/loss"][: len(rows)]  # others may come from commands that measured the run later
    for row, (_, loss) in zip(rows, points, strict=True):
        shown = dict(zip(head, row, strict=True))
        assert float(shown["val/loss"]) == float(f"{loss:.4g}")
        assert {"train/loss", "best", "waiting"} <= set(shown)
        assert any(re.fullmatch(r"\w+/s", name) for name in head)


def test_end_says_how_long_it_took_and_what_may_come_next(whole: Run) -> None:
    assert re.search(rf"^Steps done: \d+, epochs: {whole.epochs}, in \d+:\d\d$", whole.log, re.M)
    run = whole.log_folder.relative_to(whole.folder)
    assert f" validate --config={run}/config.yaml --ckpt_path={run}/checkpoints/best.ckpt\n" in whole.log
    assert f"tensorboard --logdir {run}\n" in whole.log


def test_prediction_that_is_proposed_needs_nothing_more(whole: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = (line for line in whole.log.splitlines() if " predict " in line)
    words = shlex.split(line)
    monkeypatch.chdir(whole.folder)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    shutil.rmtree("segmentations", ignore_errors=True)  # of another test, which would not be written over
    main([*words[words.index("train.py") + 1 :], "--trainer.enable_progress_bar=false"])
    assert (whole.log_folder / "predictions.csv").read_text().count("\n") > 1
