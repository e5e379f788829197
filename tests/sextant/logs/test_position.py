"""A run that goes back to a checkpoint has the log that it had then."""

from pathlib import Path

import pytest
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sextant.logs.position import EVALUATIONS, EVENTS, TABLE, go_back, log_position


def write(folder: Path, step: int, suffix: str = "") -> TensorBoardLogger:
    """Begin a file of events, with one value."""
    logger = TensorBoardLogger(folder, "", "", filename_suffix=suffix)
    logger.log_metrics({"value": float(step)}, step)
    logger.save()
    return logger


def files(run: Path) -> list[Path]:
    """Those with events, of a run."""
    return sorted(run.rglob(EVENTS))


def steps(folder: Path) -> list[int]:
    """Of the values that a person is shown."""
    board = EventAccumulator(str(folder), {"scalars": 0}).Reload()
    return [point.step for point in board.Scalars("value")]


@pytest.mark.parametrize("part", ["", "part"])
def test_what_was_logged_after_a_checkpoint_is_gone_whichever_file_it_is_in(tmp_path: Path, part: str) -> None:
    folder = tmp_path / part
    before = write(folder, 0)
    there = files(tmp_path)
    position = log_position(tmp_path, [before])
    before.log_metrics({"value": 1.0}, 1)
    before.save()
    write(folder, 2)  # by a run that went on from the checkpoint already
    assert len(files(tmp_path)) == 2
    for _ in range(2):
        go_back(tmp_path, [], position)
        assert files(tmp_path) == there
        assert steps(folder) == [0]


def test_run_that_had_logged_nothing_begins_its_log_anew(tmp_path: Path) -> None:
    position = log_position(tmp_path, [])
    write(tmp_path, 0)
    (tmp_path / TABLE).write_text("step,value\n0,1.0\n")
    go_back(tmp_path, [], position)
    assert files(tmp_path) == []
    assert not (tmp_path / TABLE).exists()


@pytest.mark.parametrize("command", EVALUATIONS)
def test_what_other_commands_measured_of_the_run_stays(tmp_path: Path, command: str) -> None:
    position = log_position(tmp_path, [])
    write(tmp_path, 0, f".{command}")
    there = files(tmp_path)
    assert len(there) == 1
    go_back(tmp_path, [], position)
    assert files(tmp_path) == there
