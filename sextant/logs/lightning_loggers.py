"""Every private or undeclared name of Lightning's loggers that the library leans on, each behind a function."""

import csv
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.loggers.utilities import _log_hyperparams
from typing_extensions import override


def log_hyperparams(trainer: Trainer) -> None:
    """Log the settings of a run to its loggers, which Lightning does before training begins."""
    _log_hyperparams(trainer)


def place_in_folder(logger: TensorBoardLogger | CSVLogger, folder: Path, **events: Any) -> None:
    """Let a logger that has written nothing yet write into a folder; ``events`` are options of TensorBoard's writer."""
    logger._root_dir, logger._name, logger._version = str(folder.parent.parent), folder.parent.name, folder.name
    if isinstance(logger, CSVLogger):
        logger._save_dir = logger._root_dir
    else:
        logger._kwargs |= events


def open_log(logger: Logger) -> None:
    """Let a logger begin to write, as Lightning does before a run is set up."""
    _ = getattr(logger, "experiment", None)


def append_to_csv(logger: CSVLogger, file_name: str | None = None) -> None:
    """Open the table of a logger (``metrics.csv``) to go on with it, which Lightning would delete."""
    logger._experiment = _AppendedTable(logger.log_dir, file_name)


class _AppendedTable(ExperimentWriter):
    """The writer of a CSVLogger for a table that may be there."""

    def __init__(self, folder: str, file_name: str | None) -> None:
        super().__init__(folder)
        table = Path(folder, file_name or self.NAME_METRICS_FILE)
        self.metrics_file_path = str(table)
        if table.exists():
            with table.open(newline="") as lines:
                self.metrics_keys = next(csv.reader(lines), [])

    @override
    def _check_log_dir_exists(self) -> None:
        """Leave what is there."""


def mlflow_store(logger: MLFlowLogger) -> Path | None:
    """The folder that MLflow keeps its runs in; None where it has a server or a database."""
    parts = urlsplit(logger._tracking_uri)
    return Path(url2pathname(parts.path)) if parts.scheme in ("", "file") else None


def name_mlflow_run(logger: MLFlowLogger, experiment: str, name: str, run_id: str | None) -> None:
    """Name MLflow's run, unless it has a name, or go on with the one that has the id, if it is there."""
    if logger._experiment_name == "lightning_logs":
        logger._experiment_name = experiment
    logger._run_name = logger._run_name or name
    if logger._run_id is None and run_id is not None and _has_mlflow_run(logger, run_id):
        logger._run_id = run_id
        logger.experiment.update_run(run_id, status="RUNNING")


def _has_mlflow_run(logger: MLFlowLogger, run_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        logger._mlflow_client.get_run(run_id)
        return True
    except MlflowException:
        return False


def name_wandb_run(logger: WandbLogger, folder: Path, project: str, run_id: str | None) -> None:
    """Name W&B's run after the Trainer's folder, into which it writes, unless it has a name, or go on with an id."""
    options = logger._wandb_init
    if options["project"] == "lightning_logs":
        options["project"] = project
    if options["name"] in (None, "lightning_logs"):  # as TensorBoard's was, which the logger took the place of
        options["name"] = folder.name
    options |= {"dir": str(folder), "id": options["id"] or run_id}
    logger._project, logger._save_dir, logger._id = options["project"], options["dir"], options["id"]
