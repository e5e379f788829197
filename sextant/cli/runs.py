"""Where the runs of a command are, whatever logs them: ``<save_dir>/<name>/version_N``."""

import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.loggers import CometLogger, CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from sextant.errors import InputError
from sextant.files.location import Location, is_url
from sextant.logs.kept_folder import kept_runs

SAVE_DIR = "logs"
SYNTHETIC = "-synthetic"  # after the name of a workload that runs on generated data
MLFLOW_STORE = "mlruns"
#: What loggers need.
LIBRARIES: dict[type[Logger], str] = {MLFlowLogger: "mlflow", WandbLogger: "wandb", CometLogger: "comet_ml"}
#: What loggers have as ``save_dir`` and ``name`` where nothing is given.
DEFAULTS = (None, "", ".", "lightning_logs")


def runs_folder(config: Namespace) -> Path:
    """The folder with those of all runs of a workload.

    It is ``<save_dir>/<name>``, by the first logger that says either, as TensorBoard's and the CSVLogger can; otherwise
    by the Trainer's ``default_root_dir`` (or ``logs``) and the command's ``name``. A ``save_dir`` of ``logs``, which
    every configuration has, says nothing. Runs on generated data have a folder
    of their own.

    Args:
        config: of a command.
    """
    name: str = next(_given(config, "name", (TensorBoardLogger, CSVLogger)), config.name)
    if config.get("data.init_args.synthetic"):
        name = name.removesuffix(SYNTHETIC) + SYNTHETIC
    return save_dir(config) / name


def kept_runs_folder(config: Namespace) -> Location:
    """The folder with the configurations and the checkpoints of all runs of a workload."""
    return kept_runs(runs_folder(config), config.trainer.get("default_root_dir"))


def save_dir(config: Namespace) -> Path:
    """The folder with the runs of all workloads."""
    root = config.trainer.get("default_root_dir") or SAVE_DIR
    root = SAVE_DIR if is_url(root) else root  # a log grows, which files at a URL do not
    given = next((each for each in _given(config, "save_dir") if Path(each).name != MLFLOW_STORE), SAVE_DIR)
    return _expanded(root if given == SAVE_DIR else given)


def run_name(config: Namespace) -> str | None:
    """The name of a new run's folder, where a logger that has it as its ``version`` says one."""
    for version in _given(config, "version", (TensorBoardLogger, CSVLogger)):
        return version if isinstance(version, str) else f"version_{version}"
    return None


def require_libraries(config: Namespace) -> None:
    """Require what the loggers of a command need beyond this project.

    Raises:
        InputError: a library is missing.
    """
    for logger in loggers_of(config):
        for kind, library in LIBRARIES.items():
            if _is_one_of(logger, (kind,)) and find_spec(library) is None:
                name = kind.__name__
                raise InputError(f"trainer.logger: {name} needs {library}, which is missing. pip install {library}")


def keep_mlflow_store_apart(config: Namespace) -> None:
    """Let MLflow keep its files beside the folders of runs, where it would take each of them for one of its own."""
    for logger in loggers_of(config):
        if not _is_one_of(logger, (MLFlowLogger,)):
            continue
        settings = logger.init_args
        if not settings.tracking_uri:
            given = Path(settings.save_dir or ".")
            store = given if given.name == MLFLOW_STORE else save_dir(config) / MLFLOW_STORE
            settings.tracking_uri = f"file:{store.absolute()}"
        if settings.tracking_uri.startswith("file:"):
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # it asks for that word


def require_writable(folder: Path) -> None:
    """Require that a run can be logged in a folder, which need not be there yet.

    Raises:
        InputError: it cannot.
    """
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        why = "you may not write there" if there.is_dir() else "it is no folder"
        raise InputError(
            f"{there}: the run cannot be logged in {folder}, since {why}. Make it writable, or choose another folder "
            "with --trainer.logger.init_args.save_dir."
        )


def loggers_of(config: Namespace) -> list[Namespace]:
    """The settings of each logger of a command that has some."""
    given = config.trainer.get("logger")
    return [each for each in (given if isinstance(given, list) else [given]) if isinstance(each, Namespace)]


def _is_one_of(logger: Namespace, classes: tuple[type[Logger], ...]) -> bool:
    module, _, name = logger.class_path.rpartition(".")
    found = getattr(sys.modules.get(module), name, None)  # which the parser has imported
    return isinstance(found, type) and issubclass(found, classes)


def _given(config: Namespace, setting: str, classes: tuple[type[Logger], ...] = (Logger,)) -> Iterator[Any]:
    """What the loggers of a command say, of those of certain classes."""
    for logger in loggers_of(config):
        value = logger.get("init_args", Namespace()).get(setting)
        if value not in DEFAULTS and _is_one_of(logger, classes):
            yield value


def _expanded(folder: str | os.PathLike[str]) -> Path:
    return Path(os.path.expandvars(folder)).expanduser()
