"""The folder of a run, which is its own whatever logs the run, and is made when training begins."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import DummyLogger
from typing_extensions import override

from sextant.errors import InputError
from sextant.files.location import Location
from sextant.lightning_internals import (
    callbacks_of,
    is_fast_dev_run,
    is_fitting,
    profile_into,
)
from sextant.logs.drawing import HasRunFolder
from sextant.logs.folder_lock import lock_folder
from sextant.logs.lightning_loggers import (
    append_to_csv,
    log_hyperparams,
    name_mlflow_run,
    name_wandb_run,
    open_log,
    place_in_folder,
)
from sextant.logs.position import KEY, go_back, log_position

NUMBERED = {"MLFlowLogger", "WandbLogger"}  # whose runs have ids


def new_folder(runs: Path, name: str | None = None, kept: Location | None = None) -> Path:
    """Make the folder of a new run, which no other run has.

    Args:
        runs: the folder with those of all runs of a workload.
        name: of the new one; the next ``version_N`` if not given.
        kept: where else there are folders of runs, as those of other machines.

    Raises:
        InputError: there is a folder of this name, or none can be made.
    """
    try:
        runs.mkdir(parents=True, exist_ok=True)
        while True:
            places = [place for place in (runs, kept) if place is not None and place.is_dir()]
            found = [re.fullmatch(r"version_(\d+)", entry.name) for place in places for entry in place.iterdir()]
            folder = runs / (name or f"version_{1 + max((int(match[1]) for match in found if match), default=-1)}")
            try:
                folder.mkdir()
            except FileExistsError:  # of a run that began at the same time
                if name is None:
                    continue
                raise InputError(
                    f"{folder}: this is the folder of another run. Give --ckpt_path to go on with it, or give "
                    "another --trainer.logger.version, or none."
                ) from None
            return folder
    except OSError as error:
        raise InputError(f"{runs}: no folder can be made for the run ({error}).") from error


class RunFolder(Callback):
    """The folder of a run, with its log and its checkpoints.

    Until training begins a run logs nothing and has no folder, unless it goes on with another one. A command that
    measures or uses a model logs into the folder of the run that its checkpoint is of, if there is one, or not at all.

    In each checkpoint is how far the log is written; what is beyond it is cut off when a run goes on.

    Args:
        runs: the folder with those of all runs of a workload.
        name: of the folder in it; the next ``version_N`` if not given.
        kept: the folder where runs keep what is no log, ``runs`` if not given.
        continued: the folder of the run that a checkpoint is of; None for a new run.
        position: how far its log was written when the checkpoint was; None if the checkpoint does not say.
        step: from which on a TensorBoard at work forgets what it has read.
    """

    def __init__(
        self,
        runs: Path,
        name: str | None = None,
        kept: Location | None = None,
        continued: Path | None = None,
        position: Mapping[str, Any] | None = None,
        step: int | None = None,
    ) -> None:
        self.runs = runs
        self.name = name
        self.kept = kept or runs
        self.continued = continued
        self.position = position
        self.step = step
        self._loggers: list[Logger] = []
        self._checkpoints: list[ModelCheckpoint] = []  # which have no folder of their own
        self._before_validation: dict[str, Any] | None = None  # how far the log was, while there is one
        self._lock: IO[str] | None = None  # on the folder, while this process trains

    def prepare(self, trainer: Trainer) -> None:
        """Let a Trainer that is just made have its run in this folder."""
        if is_fast_dev_run(trainer):
            return
        callbacks_of(trainer).insert(0, self)  # before those that log something when training begins
        self._loggers, trainer.loggers = trainer.loggers, [DummyLogger() for _ in trainer.loggers]
        found = [each for each in trainer.checkpoint_callbacks if isinstance(each, ModelCheckpoint)]
        self._checkpoints = [checkpoint for checkpoint in found if checkpoint.dirpath is None]
        self._enter(trainer, self.continued)

    def _enter(self, trainer: Trainer, folder: Path | None) -> None:
        assert isinstance(trainer, HasRunFolder)
        trainer.run_folder = folder
        for checkpoint in self._checkpoints:
            checkpoint.dirpath = str((self.kept / folder.name if folder else self.kept) / "checkpoints")

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = self._claim(trainer)
        self._enter(trainer, folder)
        profile_into(trainer, folder)
        self._open_log(trainer, folder)

    def _claim(self, trainer: Trainer) -> Path:
        """Make and lock the folder on the first process, so that all have the same one, or the same error."""
        found: list[str | None] = [None, None]
        if trainer.is_global_zero:
            try:
                folder = self.continued or new_folder(self.runs, self.name, self.kept)
                self._lock = lock_folder(folder)
                found[0] = str(folder)
            except InputError as error:
                found[1] = str(error)
        path, why_not = trainer.strategy.broadcast(found)
        if path is None:
            raise InputError(why_not)
        return Path(path)

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._unlock()

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not is_fitting(trainer):
            self._open_evaluation(trainer, "validate")
        elif not trainer.sanity_checking:
            self._before_validation = self._log_position(trainer)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._before_validation = None

    @override
    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._open_evaluation(trainer, "test")

    @override
    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._open_evaluation(trainer, "predict")

    def _open_evaluation(self, trainer: Trainer, command: str) -> None:
        if self.continued is not None:
            self._open_log(trainer, self.continued, command)

    def _open_log(self, trainer: Trainer, folder: Path, evaluation: str | None = None) -> None:
        """Let the loggers of the run write into its folder.

        Args:
            trainer: which has them from now on.
            folder: of the run.
            evaluation: the command that measures or uses a model; None for the training. It has files of its own.
        """
        ids = self.position["ids"] if self.position else {}
        self._place(folder, ids, {"filename_suffix": f".{evaluation}"} if evaluation else {"purge_step": self.step})
        if trainer.is_global_zero and self.position and evaluation is None:
            go_back(folder, self._loggers, self.position)
        # W&B comes first, as Lightning has it; opening them is work of the first process, and of no account elsewhere.
        for logger in sorted(self._loggers, key=lambda logger: not isinstance(logger, WandbLogger)):
            if isinstance(logger, CSVLogger) and trainer.is_global_zero:
                append_to_csv(logger, evaluation and f"metrics_{evaluation}.csv")
            else:
                open_log(logger)
        new = [each for each in self._loggers if self.continued is None or type(each).__name__ in NUMBERED - ids.keys()]
        if evaluation is None:
            trainer.loggers = new
            log_hyperparams(trainer)
        trainer.loggers, self._loggers = self._loggers, []

    def _place(self, folder: Path, ids: Mapping[str, str], events: dict[str, Any]) -> None:
        for logger in self._loggers:
            if isinstance(logger, TensorBoardLogger | CSVLogger):
                place_in_folder(logger, folder, **events)
            elif isinstance(logger, MLFlowLogger):
                name_mlflow_run(logger, self.runs.name, folder.name, ids.get("MLFlowLogger"))
            elif isinstance(logger, WandbLogger):
                name_wandb_run(logger, folder, self.runs.name, ids.get("WandbLogger"))

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        # What a validation has written, in which a signal ends the run, is written anew when it begins again.
        position = self._before_validation or self._log_position(trainer)
        if position is not None:
            checkpoint[KEY] = position

    @staticmethod
    def _log_position(trainer: Trainer) -> dict[str, Any] | None:
        folder = trainer.run_folder if isinstance(trainer, HasRunFolder) else None
        return log_position(folder, trainer.loggers) if trainer.is_global_zero and folder is not None else None
