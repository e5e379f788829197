"""How far the log of a run was written when a checkpoint was, and the way back to there."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, WandbLogger

from sextant.logs.lightning_loggers import mlflow_store

KEY = "log"  # in a checkpoint
EVENTS = "events.out.tfevents*"  # as TensorBoard names its files
EVALUATIONS = ("validate", "test", "predict")  # whose files end so, and are no part of the training's log
TABLE = "metrics.csv"  # as CSVLogger does


def log_position(run: Path, loggers: Iterable[Logger]) -> dict[str, Any]:
    """How far the log of a run is written now.

    Args:
        run: its folder.
        loggers: of the run.

    Returns:
        ``files``, the bytes of the files that only grow, by their paths from the run's folder; ``lines`` of the table
        of a CSVLogger, which is written anew where it gets a column; and ``ids``, the runs of MLflow and W&B by the
        class of the logger.
    """
    loggers = list(loggers)
    for logger in loggers:
        logger.save()
    table = run / TABLE
    return {
        "files": {os.path.relpath(file, run): file.stat().st_size for file in _growing_files(run, loggers)},
        "lines": table.read_bytes().count(b"\n") if table.exists() else 0,
        "ids": {
            type(logger).__name__: str(logger.version)
            for logger in loggers
            if isinstance(logger, MLFlowLogger | WandbLogger) and logger.version is not None
        },
    }


def go_back(run: Path, loggers: Iterable[Logger], position: Mapping[str, Any]) -> None:
    """Cut off what a run logged after a checkpoint, which it will log anew.

    What W&B has cannot be cut off.

    Args:
        run: its folder.
        loggers: of the run that goes on, which have written nothing yet.
        position: what :func:`log_position` gave for the checkpoint.
    """
    for file in list(_growing_files(run, loggers)):
        _shorten(file, position["files"].get(os.path.relpath(file, run), 0))
    table = run / TABLE
    if table.exists():
        with table.open("rb") as lines:
            _shorten(table, sum(len(line) for line, _ in zip(lines, range(position["lines"]), strict=False)))


def _shorten(file: Path, size: int) -> None:
    if size == 0:
        file.unlink(missing_ok=True)
    elif file.stat().st_size > size:
        os.truncate(file, size)


def _growing_files(run: Path, loggers: Iterable[Logger]) -> Iterator[Path]:
    yield from (file for file in run.rglob(EVENTS) if not file.name.endswith(EVALUATIONS))
    for logger in loggers:
        if isinstance(logger, MLFlowLogger) and (store := mlflow_store(logger)) and logger.run_id:
            metrics = store / str(logger.experiment_id) / logger.run_id / "metrics"
            yield from (file for file in metrics.rglob("*") if file.is_file())
