"""Show validation images with what was predicted and what is true."""

from typing import Any

import numpy as np
from lightning.pytorch import Trainer
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from typing_extensions import override

from callbacks.first_validation_batch import FirstValidationBatch

TILE = 160  # pixels of an image's side on the board
CAPTION = 34  # pixels of height for the two lines under it


class ValidationImages(FirstValidationBatch):
    """Write a grid of validation images to TensorBoard after each validation.

    Needs ``validation_step`` to return ``prediction`` int64 (B,), a module with ``classes`` (id -> name), and a
    DataModule with ``to_images``. The images are the same after each epoch, evenly spread over the first batch.

    Args:
        count: how many images to show.
        columns: how many of them in a row.
    """

    def __init__(self, count: int = 24, columns: int = 8) -> None:
        self.count = count
        self.columns = columns

    @override
    def show(self, trainer: Trainer, outputs: Any, batch: dict[str, Tensor], board: Any, step: int) -> None:
        shown = np.unique(np.linspace(0, len(batch["label"]) - 1, self.count).round().astype(int))
        names = trainer.lightning_module.image_class_names()  # type: ignore[operator]
        images = trainer.datamodule.to_images(batch["image"][shown]).cpu()  # type: ignore[attr-defined]
        grid = draw_grid(
            images.permute(0, 2, 3, 1).numpy(),
            [names[i] for i in outputs["prediction"][shown].tolist()],
            [names[i] for i in batch["label"][shown].tolist()],
            self.columns,
        )
        board.add_image("val/images", grid, step, dataformats="HWC")


def draw_grid(images: np.ndarray, predicted: list[str], true: list[str], columns: int) -> np.ndarray:
    """Lay images out in rows, each with its predicted name (green if right, red if wrong) over the true one.

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
