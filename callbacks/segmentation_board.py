"""Show in TensorBoard what a validation of a segmentation found."""

from typing import TYPE_CHECKING, Any

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from typing_extensions import override

from callbacks.epoch_axis import validation_axis
from callbacks.masks import add_legend, overlay
from callbacks.validation_board import validation_board
from datamodules.images.voc_palette import voc_palette

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TILE = 320  # pixels of the longer side of an image on the board
CAPTION = 20  # pixels of height for the line above images


class SegmentationBoard(Callback):
    """Write images, IoU by class and the confusion matrix to TensorBoard after each validation.

    Needs ``validation_step`` to return ``prediction``, int64 (B, H, W), a module with ``class_names`` and, after a
    validation, ``confusion``, int64 (C, C), and a DataModule with ``to_images``. The images are those that the
    first process sees first.

    Args:
        count: how many images to show.
    """

    def __init__(self, count: int = 6) -> None:
        self.count = count
        self._shown: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

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
        if len(self._shown) < self.count and validation_board(trainer) is not None:
            images = trainer.datamodule.to_images(batch["image"]).permute(0, 2, 3, 1)  # type: ignore[attr-defined]
            arrays = [images, batch["label"], outputs["prediction"]]
            self._shown += zip(*(array.byte().cpu().numpy() for array in arrays), strict=True)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        board = validation_board(trainer)
        if board is None:
            return
        step = validation_axis(trainer)
        names: list[str] = pl_module.class_names()  # type: ignore[operator]
        confusion: np.ndarray = pl_module.confusion.cpu().numpy()  # type: ignore[operator]
        board.add_image("val/images", draw_images(self._shown[: self.count], names), step, dataformats="HWC")
        board.add_text("val/iou", overlap_table(confusion, names), step)
        board.add_figure("val/confusion", draw_confusion(confusion, names), step)
        self._shown = []


def draw_images(shown: list[tuple[np.ndarray, np.ndarray, np.ndarray]], names: list[str]) -> np.ndarray:
    """Lay images out in rows: the image, the truth over it, and the prediction over it.

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


def overlap_table(confusion: np.ndarray, names: list[str]) -> str:
    """IoU, pixels and the most frequent mistake of each class, as a table in Markdown.

    Args:
        confusion: pixels of class i that were taken for class j, int64 (C, C).
        names: of the classes.
    """
    lines = ["| class | IoU | true pixels | predicted pixels | most often taken for |", "|---|---|---|---|---|"]
    for label, name in enumerate(names):
        true, predicted, right = confusion[label].sum(), confusion[:, label].sum(), confusion[label, label]
        overlap = f"{right / (true + predicted - right):.4f}" if true + predicted else ""
        wrong = np.where(np.arange(len(names)) == label, 0, confusion[label])
        mistake = f"{names[wrong.argmax()]} ({wrong.max() / true:.1%})" if wrong.any() else ""
        lines.append(f"| {name} | {overlap} | {true:,} | {predicted:,} | {mistake} |")
    return "\n".join(lines)


def draw_confusion(confusion: np.ndarray, names: list[str]) -> "Figure":
    """Draw what share of each class's pixels was taken for which class, in percent.

    Args:
        confusion: pixels of class i that were taken for class j, int64 (C, C).
        names: of the classes.
    """
    from matplotlib.figure import Figure

    shares = 100 * confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    side = 2.5 + 0.42 * len(names)
    figure = Figure((side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8, parse_math=False)
    axes.set_yticks(range(len(names)), names, fontsize=8, parse_math=False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true (% of its pixels)")
    for row, column in np.argwhere(shares >= 0.5):
        color = "white" if shares[row, column] > 60 else "black"
        axes.text(column, row, f"{shares[row, column]:.0f}", ha="center", va="center", fontsize=7, color=color)
    return figure
