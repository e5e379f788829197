"""The commands that one may want after a run, complete, so that they can be pasted."""

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from sextant.datamodule import BaseDataModule
from sextant.files.location import Location
from sextant.lightning_internals import datamodule_of


def next_commands(trainer: Trainer, run: Location, checkpoint: Location) -> Iterator[str]:
    """The commands that measure and use a model, and those that show the log.

    Args:
        trainer: of the run.
        run: the folder with its configuration.
        checkpoint: of the model.
    """
    program, data = Path(sys.argv[0]).name, datamodule_of(trainer)
    example = data.prediction_example() if isinstance(data, BaseDataModule) else []
    more = {"validate": [], "predict": [*example, f"--predictions.output={run / 'predictions.csv'}"]}
    for command, words in more.items():
        model = [f"--config={run / 'config.yaml'}", f"--ckpt_path={checkpoint}"]
        yield _line("python", [program, command, *model, *words])
    for logger in trainer.loggers:
        yield from _of_logger(trainer, logger)


def _of_logger(trainer: Trainer, logger: Logger) -> Iterator[str]:
    if isinstance(logger, TensorBoardLogger):
        yield _line("tensorboard", ["--logdir", str(trainer.log_dir)])
    elif isinstance(logger, CSVLogger):
        yield f"less {shlex.quote(f'{logger.log_dir}/metrics.csv')}"
    elif isinstance(logger, MLFlowLogger):
        yield _line("mlflow", ["ui", "--backend-store-uri", str(logger.experiment.tracking_uri)])
    elif isinstance(logger, WandbLogger) and logger.experiment.offline:
        yield _line("wandb", ["sync", str(Path(logger.experiment.dir).parent)])


def _line(program: str, words: list[str]) -> str:
    """A command as it was started itself: with or without uv."""
    if "UV" in os.environ:  # which uv run sets
        words = ["uv", "run", *([] if program == "python" else [program]), *words]
    else:
        words = [program, *words]
    return shlex.join(words)
