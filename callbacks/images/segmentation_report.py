"""A validation of segmentation in the log: images, IoU by class, confusion matrix."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from PIL import Image, ImageDraw
from torch import Tensor
from typing_extensions import override

from callbacks.card import DPI, POINTS, TEXT, WIDTH, card_font, fitted
from callbacks.images.image_data import ImageData
from callbacks.images.masks import SegmentsImages, overlay
from callbacks.validations import SpreadSamples
from datamodules.images.voc_palette import voc_palette
from sextant.contracts import require
from sextant.lightning_internals import datamodule_of
from sextant.logs.drawing import draw_figure, draw_image, draw_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAP = 5  # pixels between images
TILE = (WIDTH - 2 * GAP) // 3  # pixels of an image's width, and the most of its height
LINE = TEXT + 8  # pixels of height of a line of text
LABELS = 150  # pixels of the names beside a confusion matrix
CELL = 24  # pixels of a cell of it, at the least

#: An image, uint8 (H, W, 3), and its true and its predicted labels, uint8 (H, W).
Segmented = tuple[np.ndarray, np.ndarray, np.ndarray]


@runtime_checkable
class MeasuresSegmentation(SegmentsImages, Protocol):
    """A module that gives each pixel of an image a class, and counts which class was taken for which.

    Its ``validation_step`` returns ``prediction``, int64 (B, H, W).
    """

    #: After a validation, the pixels of class i that were taken for class j, int64 (C, C).
    confusion: Tensor


class SegmentationReport(SpreadSamples[Segmented]):
    """Images, IoU by class and the confusion matrix in the log after each validation.

    Args:
        count: how many images to show.

    Raises:
        InputError: in ``setup``, if the module is no :class:`MeasuresSegmentation` or the data no :class:`ImageData`.
    """

    def __init__(self, count: int = 6) -> None:
        super().__init__(count)

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage in ("fit", "validate"):
            require(pl_module, MeasuresSegmentation, self)
            require(datamodule_of(trainer), ImageData, self)

    @override
    def size(self, batch: dict[str, Any]) -> int:
        return len(batch["label"])

    @override
    def take(self, trainer: Trainer, outputs: Any, batch: dict[str, Any], places: list[int]) -> Iterable[Segmented]:
        images = require(datamodule_of(trainer), ImageData, self).to_images(batch["image"][places])
        arrays = [images.permute(0, 2, 3, 1), batch["label"][places], outputs["prediction"][places]]
        return zip(*(array.byte().cpu().numpy() for array in arrays), strict=True)

    @override
    def draw(self, trainer: Trainer, shown: Sequence[Segmented], step: int) -> None:
        module = require(trainer.lightning_module, MeasuresSegmentation, self)
        names, confusion = module.pixel_class_names(), module.confusion.cpu().numpy()
        if shown:
            draw_image(trainer, "val/images", draw_images(shown, names), step)
        draw_text(trainer, "val/iou", overlap_table(confusion, names), step)
        draw_figure(trainer, "val/confusion", draw_confusion(confusion, names), step)


def draw_images(shown: Sequence[Segmented], names: Sequence[str]) -> np.ndarray:
    """Images in rows: the image, the truth laid over it, and the prediction laid over it; below, the colors' classes.

    Args:
        shown: the images with their labels.
        names: of the classes.

    Returns:
        uint8 (height, width, 3).
    """
    colors = voc_palette()
    rows = []
    for image, truth, prediction in shown:
        scale = TILE / max(image.shape)
        size = (max(1, round(scale * image.shape[1])), max(1, round(scale * image.shape[0])))
        plain = Image.fromarray(image).resize(size)
        masks = (
            np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)) for mask in (truth, prediction)
        )
        rows.append([plain, *(overlay(np.asarray(plain), mask, colors) for mask in masks)])
    seen = np.unique(np.concatenate([mask.ravel() for _, *masks in shown for mask in masks]))
    legend = draw_legend([(names[label], tuple(colors[label].tolist())) for label in seen if 0 < label < len(names)])
    height = LINE + sum(tiles[0].height + GAP for tiles in rows)
    sheet = Image.new("RGB", (WIDTH, height + legend.height), "white")
    for column, caption in enumerate(("image", "truth", "prediction")):
        ImageDraw.Draw(sheet).text((column * (TILE + GAP), 0), caption, "black", card_font())
    top = LINE
    for tiles in rows:
        for column, tile in enumerate(tiles):
            sheet.paste(tile, (column * (TILE + GAP), top))
        top += tiles[0].height + GAP
    sheet.paste(legend, (0, height))
    return np.asarray(sheet)


def draw_legend(entries: Sequence[tuple[str, tuple[int, ...]]]) -> Image.Image:
    """Names of classes with their colors, three in a row."""
    font = card_font()
    image = Image.new("RGB", (WIDTH, -(-len(entries) // 3) * LINE), "white")
    draw = ImageDraw.Draw(image)
    for k, (name, color) in enumerate(entries):
        x, y = k % 3 * (TILE + GAP), k // 3 * LINE
        draw.rectangle((x, y + 4, x + TEXT, y + 4 + TEXT), color, "black")
        draw.text((x + TEXT + 8, y + 4 + TEXT // 2), fitted(name, TILE - TEXT - 8, font), "black", font, anchor="lm")
    return image


def overlap_table(confusion: np.ndarray, names: Sequence[str]) -> str:
    """A table in Markdown: IoU, pixels and the most frequent mistake of each class.

    Args:
        confusion: pixels of class i that were taken for class j, int64 (C, C).
        names: of the classes.
    """
    lines = ["| class | IoU | true pixels | predicted pixels | most often taken for |", "|---|---|---|---|---|"]
    for label, name in enumerate(names):
        true, predicted, right = confusion[label].sum(), confusion[:, label].sum(), confusion[label, label]
        overlap = f"{right / (true + predicted - right):.4f}" if true + predicted else ""
        wrong = np.where(np.arange(len(names)) == label, 0, confusion[label])
        mistake = f"{names[int(wrong.argmax())]} ({wrong.max() / true:.1%})" if wrong.any() else ""
        lines.append(f"| {name} | {overlap} | {true:,} | {predicted:,} | {mistake} |")
    return "\n".join(lines)


def draw_confusion(confusion: np.ndarray, names: Sequence[str]) -> "Figure":
    """The confusion matrix in percent of the true pixels of each class.

    Args:
        confusion: pixels of class i that were taken for class j, int64 (C, C).
        names: of the classes.
    """
    from matplotlib.figure import Figure

    percent = 100 * confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    cell = max(CELL, (WIDTH - LABELS) / len(names))  # pixels
    side = (LABELS + cell * len(names)) / DPI
    name_size, number_size = min(POINTS, 0.65 * cell), min(POINTS, 0.45 * cell)
    figure = Figure((side, side), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=name_size, parse_math=False)
    axes.set_yticks(range(len(names)), names, fontsize=name_size, parse_math=False)
    axes.set_xlabel("predicted", fontsize=POINTS)
    axes.set_ylabel("true (% of its pixels)", fontsize=POINTS)
    for row, column in np.argwhere(percent >= 0.5):
        color = "white" if percent[row, column] > 60 else "black"
        number = f"{percent[row, column]:.0f}"
        axes.text(column, row, number, ha="center", va="center", fontsize=number_size, color=color)
    return figure
