"""Validation images in TensorBoard, with the predicted and the true class."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from typing_extensions import override

from callbacks.images.image_data import ImageData
from callbacks.tensorboard import FirstValidationBatch
from sextant.contracts import require
from sextant.lightning_internals import datamodule_of

TILE = 160  # pixels of an image's side
CAPTION = 34  # pixels of height for the two lines under it


@runtime_checkable
class ClassifiesImages(Protocol):
    """A module that gives an image one class, and whose ``validation_step`` returns ``prediction``, int64 (B,)."""

    def image_class_names(self) -> Sequence[str]:
        """The names of the classes, in the order of the labels."""


class ValidationImages(FirstValidationBatch):
    """A grid of validation images in TensorBoard after each validation.

    The images are the same each time, evenly spread over the first batch.

    Args:
        count: how many images to show.
        columns: images in a row.

    Raises:
        InputError: in ``setup``, if the module is no :class:`ClassifiesImages` or the data no :class:`ImageData`.
    """

    def __init__(self, count: int = 24, columns: int = 8) -> None:
        self.count = count
        self.columns = columns

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage in ("fit", "validate"):
            require(pl_module, ClassifiesImages, self)
            require(datamodule_of(trainer), ImageData, self)

    @override
    def show(self, trainer: Trainer, outputs: Any, batch: dict[str, Tensor], writer: Any, step: int) -> None:
        shown = np.unique(np.linspace(0, len(batch["label"]) - 1, self.count).round().astype(int))
        names = require(trainer.lightning_module, ClassifiesImages, self).image_class_names()
        images = require(datamodule_of(trainer), ImageData, self).to_images(batch["image"][shown]).cpu()
        grid = draw_grid(
            images.permute(0, 2, 3, 1).numpy(),
            [names[i] for i in outputs["prediction"][shown].tolist()],
            [names[i] for i in batch["label"][shown].tolist()],
            self.columns,
        )
        writer.add_image("val/images", grid, step, dataformats="HWC")


def draw_grid(images: np.ndarray, predicted: list[str], true: list[str], columns: int) -> np.ndarray:
    """Images in rows, each above its predicted name (green if right, red if wrong) and its true name.

    Args:
        images: uint8 (N, H, W, 3).
        predicted: N names.
        true: N names.
        columns: images in a row.

    Returns:
        uint8 (height, width, 3).
    """
    font = ImageFont.load_default(13)
    rows = -(-len(images) // columns)
    grid = Image.new("RGB", (columns * TILE, rows * (TILE + CAPTION)), "white")
    draw = ImageDraw.Draw(grid)
    for k, (image, guess, truth) in enumerate(zip(images, predicted, true, strict=True)):
        x, y = k % columns * TILE, k // columns * (TILE + CAPTION)
        grid.paste(Image.fromarray(image).resize((TILE - 4, TILE - 4), Image.Resampling.NEAREST), (x + 2, y + 2))
        # WordNet names list synonyms: the first one is enough here.
        lines = [guess.split(",")[0], truth.split(",")[0]]
        for line, (text, color) in enumerate(zip(lines, ["green" if guess == truth else "red", "black"], strict=True)):
            while font.getlength(text) > TILE - 6:
                text = text[:-2].rstrip(".") + "."
            draw.text((x + 3, y + TILE + line * 16), text, color, font)
    return np.asarray(grid)
