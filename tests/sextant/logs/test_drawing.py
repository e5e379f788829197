"""What is drawn is in every logger of a run, or in its folder."""

from pathlib import Path

import numpy as np
import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.trainer.states import TrainerFn
from matplotlib.figure import Figure
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sextant.logs.drawing import can_draw, draw_figure, draw_image, draw_text
from tests.datamodules.recorder import bare_trainer
from tests.filesystem import listing

IMAGE = np.full((4, 6, 3), [200, 10, 0], np.uint8)


def trainer(folder: Path) -> Trainer:
    made = bare_trainer(folder)
    made.loggers = [CSVLogger(folder, "table", ""), TensorBoardLogger(folder, "board", "")]
    return made


def test_each_logger_has_texts_images_and_figures(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    assert can_draw(run)
    draw_text(run, "val/text", "a *b*\n# c", 3, preformatted=True)
    draw_text(run, "note", "as **it** is")
    draw_image(run, "val/image", IMAGE, 2)
    draw_figure(run, "val/figure", Figure((2, 1), dpi=10), 1)
    drawn = tmp_path / "table" / "drawn"
    assert {name for name in listing(drawn) if "." in name} == {
        *("val/text/3.txt", "note/0.txt", "val/image/2.png", "val/figure/1.png")
    }
    assert (drawn / "val" / "text" / "3.txt").read_text() == "a *b*\n# c"
    assert np.array_equal(np.asarray(Image.open(drawn / "val" / "image" / "2.png")), IMAGE)
    assert Image.open(drawn / "val" / "figure" / "1.png").size == (20, 10)
    run.loggers[1].save()
    board = EventAccumulator(str(tmp_path / "board"), {"images": 0, "tensors": 0}).Reload()
    (text,) = board.Tensors("val/text/text_summary")
    assert text.step == 3
    assert text.tensor_proto.string_val == [b"    a *b*\n    # c"]  # not read as Markdown
    assert board.Tensors("note/text_summary")[0].tensor_proto.string_val == [b"as **it** is"]
    assert [(image.step, image.width, image.height) for image in board.Images("val/image")] == [(2, 6, 4)]
    assert [(image.step, image.width, image.height) for image in board.Images("val/figure")] == [(1, 20, 10)]


def test_what_is_drawn_of_a_checkpoint_takes_no_place_of_what_the_training_drew(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    for command, text in ((TrainerFn.FITTING, "training"), (TrainerFn.VALIDATING, "checkpoint")):
        run.state.fn = command
        draw_text(run, "val/text", text, 1)
    drawn = tmp_path / "table" / "drawn"
    assert (drawn / "val" / "text" / "1.txt").read_text() == "training"
    assert (drawn / "validate" / "val" / "text" / "1.txt").read_text() == "checkpoint"


def test_run_that_is_not_logged_draws_nothing(tmp_path: Path) -> None:
    run = bare_trainer(tmp_path, fast_dev_run=True)
    assert not can_draw(run)
    draw_text(run, "note", "text")
    draw_image(run, "image", IMAGE)
    draw_figure(run, "figure", Figure())
    assert listing(tmp_path) == []


def test_processes_other_than_the_first_draw_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trainer(tmp_path)
    monkeypatch.setattr(SingleDeviceStrategy, "is_global_zero", False)
    assert not can_draw(run)
    draw_text(run, "note", "text")
    draw_image(run, "image", IMAGE)
    draw_figure(run, "figure", Figure())
    assert listing(tmp_path) == []
