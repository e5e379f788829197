"""Validation images in the log, with the predicted and the true class."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from PIL import Image, ImageDraw
from typing_extensions import override

from callbacks.card import TEXT, WIDTH, card_font, fitted
from callbacks.images.image_data import ImageData
from callbacks.validations import SpreadSamples
from sextant.contracts import require
from sextant.lightning_internals import datamodule_of
from sextant.logs.drawing import draw_image

CAPTION = 2 * TEXT + 14  # pixels of height for the two lines under an image


class Classified(NamedTuple):
    """An image, uint8 (H, W, 3), with the labels that it was given and that it has."""

    image: np.ndarray
    predicted: int
    true: int


@runtime_checkable
class ClassifiesImages(Protocol):
    """A module that gives an image one class, and whose ``validation_step`` returns ``prediction``, int64 (B,)."""

    def image_class_names(self) -> Sequence[str]:
        """The names of the classes, in the order of the labels."""


class ValidationImages(SpreadSamples[Classified]):
    """A grid of validation images in the log after each validation.

    Args:
        count: how many images to show.
        columns: images in a row.

    Raises:
        InputError: in ``setup``, if the module is no :class:`ClassifiesImages` or the data no :class:`ImageData`.
    """

    def __init__(self, count: int = 12, columns: int = 3) -> None:
        super().__init__(count)
        self.columns = columns

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage in ("fit", "validate"):
            require(pl_module, ClassifiesImages, self)
            require(datamodule_of(trainer), ImageData, self)

    @override
    def size(self, batch: dict[str, Any]) -> int:
        return len(batch["label"])

    @override
    def take(self, trainer: Trainer, outputs: Any, batch: dict[str, Any], places: list[int]) -> Iterable[Classified]:
        images = require(datamodule_of(trainer), ImageData, self).to_images(batch["image"][places]).cpu()
        labels = [labels[places].tolist() for labels in (outputs["prediction"], batch["label"])]
        return map(Classified, images.permute(0, 2, 3, 1).numpy(), *labels)

    @override
    def draw(self, trainer: Trainer, shown: Sequence[Classified], step: int) -> None:
        if shown:
            names = require(trainer.lightning_module, ClassifiesImages, self).image_class_names()
            draw_image(trainer, "val/images", draw_grid(shown, names, self.columns), step)


def draw_grid(shown: Sequence[Classified], names: Sequence[str], columns: int) -> np.ndarray:
    """Images in rows, each above its predicted name (green if right, red if wrong) and its true name.

    Args:
        shown: the images with their labels.
        names: of the labels.
        columns: images in a row.

    Returns:
        uint8 (height, width, 3).
    """
    font, side = card_font(), WIDTH // columns
    grid = Image.new("RGB", (columns * side, -(-len(shown) // columns) * (side + CAPTION)), "white")
    draw = ImageDraw.Draw(grid)
    for k, (image, predicted, true) in enumerate(shown):
        x, y = k % columns * side, k // columns * (side + CAPTION)
        grid.paste(Image.fromarray(image).resize((side - 8, side - 8), Image.Resampling.NEAREST), (x + 4, y + 4))
        for line, (label, color) in enumerate([(predicted, "green" if predicted == true else "red"), (true, "black")]):
            # WordNet names list synonyms: the first one is enough here.
            name = fitted(names[label].split(",")[0], side - 8, font)
            draw.text((x + 4, y + side + line * (TEXT + 4)), name, color, font)
    return np.asarray(grid)
