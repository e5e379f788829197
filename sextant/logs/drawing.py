"""Texts, images and figures, for every logger of a run: one that cannot show them has them as files in its folder."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import DummyLogger

from sextant.lightning_internals import is_fitting

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = "drawn"  # in that of the run


@runtime_checkable
class HasRunFolder(Protocol):
    """A Trainer whose run has a folder of its own."""

    run_folder: Path | None


def can_draw(trainer: Trainer) -> bool:
    """Whether this process is the one that draws, for a run that is logged."""
    return trainer.is_global_zero and bool(_loggers(trainer))


def draw_text(trainer: Trainer, tag: str, text: str, step: int = 0, preformatted: bool = False) -> None:
    """Show a text in every logger.

    Args:
        trainer: of the run.
        tag: such as ``val/text``.
        text: Markdown, unless it is preformatted.
        step: on the tag's axis.
        preformatted: keep spaces and line breaks as they are.
    """
    for logger in _loggers(trainer) if trainer.is_global_zero else ():
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_text(tag, _preformatted(text) if preformatted else text, step)
        elif isinstance(logger, WandbLogger):
            logger.log_text(tag, columns=["text"], data=[[text]], step=step)
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_text(logger.run_id, text, _name(trainer, tag, step, "txt"))
        else:
            _file(trainer, logger, tag, step, "txt").write_text(text, encoding="utf-8")


def tensorboard_loggers(trainer: Trainer) -> list[TensorBoardLogger]:
    """Those of a run's loggers that are TensorBoard's, for what only it can show."""
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def show_run_file(trainer: Trainer, name: str, text: str) -> None:
    """Show a text file of the run's folder on TensorBoard, at the present step; other loggers leave it to the folder.

    Args:
        trainer: of the run.
        name: of the file.
        text: what is in it.
    """
    for logger in tensorboard_loggers(trainer) if trainer.is_global_zero else ():
        logger.experiment.add_text(f"run/{name}", _preformatted(text), trainer.global_step)


def draw_image(trainer: Trainer, tag: str, image: np.ndarray, step: int = 0) -> None:
    """Show an image in every logger.

    Args:
        trainer: of the run.
        tag: such as ``val/images``.
        image: uint8 (height, width, 3).
        step: on the tag's axis.
    """
    from PIL import Image  # which the library does without otherwise

    for logger in _loggers(trainer) if trainer.is_global_zero else ():
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(tag, image, step, dataformats="HWC")
        elif isinstance(logger, WandbLogger):
            logger.log_image(tag, [Image.fromarray(image)], step=step)
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_image(logger.run_id, Image.fromarray(image), _name(trainer, tag, step, "png"))
        else:
            Image.fromarray(image).save(_file(trainer, logger, tag, step, "png"))


def draw_figure(trainer: Trainer, tag: str, figure: "Figure", step: int = 0) -> None:
    """Show a figure of matplotlib in every logger.

    Args:
        trainer: of the run.
        tag: such as ``val/confusion``.
        figure: the figure.
        step: on the tag's axis.
    """
    if can_draw(trainer):
        from PIL import Image

        drawn = io.BytesIO()
        figure.savefig(drawn, format="png")
        draw_image(trainer, tag, np.asarray(Image.open(drawn).convert("RGB")), step)


def _preformatted(text: str) -> str:
    """A text as it is in Markdown, which TensorBoard reads: with four spaces at the start of each line."""
    return "    " + text.replace("\n", "\n    ")


def _loggers(trainer: Trainer) -> list[Logger]:
    return [logger for logger in trainer.loggers if not isinstance(logger, DummyLogger)]


def _name(trainer: Trainer, tag: str, step: int, suffix: str) -> str:
    """The name of a file with what is drawn; of a command that measures a model it is not that of the training's."""
    command = "" if trainer.state.fn is None or is_fitting(trainer) else f"{trainer.state.fn.value}/"
    return f"{command}{tag}/{step}.{suffix}"


def _file(trainer: Trainer, logger: Any, tag: str, step: int, suffix: str) -> Path:
    """Where a logger that shows neither images nor texts has them."""
    run = trainer.run_folder if isinstance(trainer, HasRunFolder) else None
    folder = run or Path(logger.log_dir or logger.save_dir or trainer.default_root_dir)
    file = folder / FOLDER / _name(trainer, tag, step, suffix)
    file.parent.mkdir(parents=True, exist_ok=True)
    return file
