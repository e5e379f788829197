"""The drawings and the table of a validation of segmentation."""

import io
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from typing_extensions import override

from callbacks.card import TEXT, WIDTH
from callbacks.images.segmentation_report import (
    GAP,
    LINE,
    TILE,
    SegmentationReport,
    draw_confusion,
    draw_images,
    overlap_table,
)
from datamodules.images.voc_palette import voc_palette
from tests.callbacks.small_run import Plain, loader, logged, trainer

NAMES = ["background", "person", "dog", "sheep"]


def test_report_shows_images_of_different_sizes_with_truth_and_prediction() -> None:
    gray = [
        (np.full((h, w, 3), 120, np.uint8), np.zeros((h, w), np.uint8), np.ones((h, w), np.uint8))
        for h, w in ((30, 60), (70, 20))
    ]
    sheet = draw_images(gray, NAMES).astype(int)
    assert sheet.shape[1] == WIDTH
    places = [column * (TILE + GAP) + TILE // 2 for column in range(3)]
    middle = [sheet[LINE + TILE // 4, place] for place in places]
    assert middle[0].tolist() == middle[1].tolist() == [120, 120, 120]
    assert middle[2][0] > middle[2][1] + 30  # the prediction is a person
    legend = sheet[-LINE:]
    assert legend[LINE // 2, TEXT // 2].tolist() == voc_palette()[1].tolist()
    assert (legend[:, TEXT + 4 :] < 100).any()  # the name of the class
    assert (legend[:, TILE:] == 255).all()  # no other one


@pytest.mark.parametrize("which", [1, 2])
def test_images_show_the_labels_of_masks_alone(which: int) -> None:
    """Between background and dog there is no person, however the masks are scaled."""
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 20:40] = 2
    black, empty = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8)
    sheet = draw_images([(black, mask, empty) if which == 1 else (black, empty, mask)], NAMES)
    left = which * (TILE + GAP)
    drawn = sheet[LINE : LINE + TILE, left : left + TILE]
    colors = {tuple(color) for color in drawn.reshape(-1, 3).tolist()}
    assert colors == {(0, 0, 0), tuple((0.6 * voc_palette()[2]).astype(np.uint8).tolist())}


def test_table_has_overlap_and_the_most_frequent_mistake() -> None:
    confusion = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]])
    lines = overlap_table(confusion, NAMES[:3]).splitlines()
    assert lines[2] == "| background | 0.6667 | 8 | 7 | person (25.0%) |"
    assert lines[3] == "| person | 0.5000 | 4 | 5 | background (25.0%) |"
    assert lines[4] == "| dog |  | 0 | 0 |  |"


def test_confusion_is_drawn_in_percent_of_the_true_pixels() -> None:
    figure = draw_confusion(np.array([[75, 25], [0, 10]]), NAMES[:2])
    (axes,) = figure.axes
    texts = {(text.get_position(), text.get_text()) for text in axes.texts}
    assert texts == {((0, 0), "75"), ((1, 0), "25"), ((1, 1), "100")}
    (drawn,) = axes.images
    assert np.asarray(drawn.get_array()).tolist() == [[75, 25], [0, 100]]  # a row for each true class
    assert drawn.origin == "upper"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true (% of its pixels)")
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [tick.get_text() for tick in ticks] == NAMES[:2]


def test_names_and_numbers_of_many_classes_fit_side_by_side() -> None:
    names = [f"class {label}" for label in range(21)]
    figure = draw_confusion(np.full((21, 21), 1), names)
    figure.canvas.draw()
    (axes,) = figure.axes
    assert figure.get_size_inches()[0] * figure.dpi == pytest.approx(WIDTH)
    boxes = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert all(below.y1 <= above.y0 + 1 for above, below in pairwise(boxes))
    numbers = [text.get_window_extent() for text in axes.texts[:21]]  # of the first row
    assert all(left.x1 < right.x0 for left, right in pairwise(numbers))


CONFUSION = torch.tensor([[75, 25], [0, 10]])


class Segmenter(Plain):
    """Takes a quarter of the background for a person."""

    confusion = CONFUSION

    def pixel_class_names(self) -> tuple[str, ...]:
        return tuple(NAMES[:2])

    @override
    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        return {"prediction": torch.zeros(1, 8, 8, dtype=torch.int64)}


class Images(LightningDataModule):
    """Images with masks for the validation."""

    def to_images(self, image: Tensor) -> Tensor:
        return image.byte()

    @override
    def train_dataloader(self) -> DataLoader:
        return loader()

    @override
    def val_dataloader(self) -> DataLoader:
        batch = {"image": torch.zeros(1, 3, 8, 8), "label": torch.zeros(1, 8, 8, dtype=torch.int64)}
        return DataLoader([batch], batch_size=None)  # type: ignore[arg-type]


def test_confusion_and_table_on_the_board_are_those_of_the_module(tmp_path: Path) -> None:
    run = trainer(tmp_path, SegmentationReport(), num_sanity_val_steps=0)
    run.fit(Segmenter(), Images())
    events = logged(run)
    (image,) = events.Images("val/confusion")
    expected = io.BytesIO()
    draw_confusion(CONFUSION.numpy(), NAMES[:2]).savefig(expected, format="png")
    found = Image.open(io.BytesIO(image.encoded_image_string)).convert("RGB")
    assert np.array_equal(np.asarray(found), np.asarray(Image.open(expected).convert("RGB")))
    table = events.Tensors("val/iou/text_summary")[-1].tensor_proto.string_val[0].decode()
    assert overlap_table(CONFUSION.numpy(), NAMES[:2]) in table
