"""A validation of segmentation in TensorBoard: images, IoU by class, confusion matrix."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from typing_extensions import override

from callbacks.images.image_data import ImageData
from callbacks.images.masks import SegmentsImages, add_legend, overlay
from callbacks.tensorboard import validation_axis, validation_writer
from datamodules.images.voc_palette import voc_palette
from sextant.contracts import Observer, require
from sextant.lightning_internals import datamodule_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TILE = 320  # pixels of the longer side of an image
CAPTION = 20  # pixels of height for the line above images


@runtime_checkable
class MeasuresSegmentation(SegmentsImages, Protocol):
    """A module that gives each pixel of an image a class, and counts which class was taken for which.

    Its ``validation_step`` returns ``prediction``, int64 (B, H, W).
    """

    #: After a validation, the pixels of class i that were taken for class j, int64 (C, C).
    confusion: Tensor


class SegmentationReport(Observer):
    """Images, IoU by class and the confusion matrix in TensorBoard after each validation.

    The images are the first ones of the first process.

    Args:
        count: how many images to show.

    Raises:
        InputError: in ``setup``, if the module is no :class:`MeasuresSegmentation` or the data no :class:`ImageData`.
    """

    def __init__(self, count: int = 6) -> None:
        self.count = count
        self._shown: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage in ("fit", "validate"):
            require(pl_module, MeasuresSegmentation, self)
            require(datamodule_of(trainer), ImageData, self)

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._shown = []

    @override
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: dict[str, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if len(self._shown) < self.count and validation_writer(trainer) is not None:
            images = require(datamodule_of(trainer), ImageData, self).to_images(batch["image"]).permute(0, 2, 3, 1)
            arrays = [images, batch["label"], outputs["prediction"]]
            self._shown += zip(*(array.byte().cpu().numpy() for array in arrays), strict=True)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        writer = validation_writer(trainer)
        if writer is None:
            return
        step = validation_axis(trainer)
        module = require(pl_module, MeasuresSegmentation, self)
        names, confusion = module.pixel_class_names(), module.confusion.cpu().numpy()
        writer.add_image("val/images", draw_images(self._shown[: self.count], names), step, dataformats="HWC")
        writer.add_text("val/iou", overlap_table(confusion, names), step)
        writer.add_figure("val/confusion", draw_confusion(confusion, names), step)
        self._shown = []


def draw_images(shown: list[tuple[np.ndarray, np.ndarray, np.ndarray]], names: Sequence[str]) -> np.ndarray:
    """Images in rows: the image, the truth laid over it, and the prediction laid over it.

    Args:
        shown: image uint8 (H, W, 3), true and predicted labels uint8 (H, W) of each.
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
        tiles = [plain]
        for mask in (truth, prediction):
            scaled = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
            tiles.append(add_legend(overlay(np.asarray(plain), scaled, colors), scaled, names, colors))
        rows.append(tiles)
    height = sum(tiles[0].height + 4 for tiles in rows)
    sheet = Image.new("RGB", (3 * TILE + 8, CAPTION + height), "white")
    for column, caption in enumerate(("image", "truth", "prediction")):
        place = (column * (TILE + 4) + 2, 2)
        ImageDraw.Draw(sheet).text(place, caption, "black", ImageFont.load_default(14))
    top = CAPTION
    for tiles in rows:
        for column, tile in enumerate(tiles):
            sheet.paste(tile, (column * (TILE + 4), top))
        top += tiles[0].height + 4
    return np.asarray(sheet)


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
    side = 2.5 + 0.42 * len(names)
    figure = Figure((side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8, parse_math=False)
    axes.set_yticks(range(len(names)), names, fontsize=8, parse_math=False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true (% of its pixels)")
    for row, column in np.argwhere(percent >= 0.5):
        color = "white" if percent[row, column] > 60 else "black"
        axes.text(column, row, f"{percent[row, column]:.0f}", ha="center", va="center", fontsize=7, color=color)
    return figure
