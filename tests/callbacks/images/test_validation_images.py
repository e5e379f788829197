"""The grid of images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader
from typing_extensions import override

from callbacks.images.validation_images import CAPTION, TILE, ValidationImages, draw_grid
from tests.callbacks.small_run import Plain, trainer


def test_grid_has_room_for_all_images_and_marks_right_and_wrong() -> None:
    images = np.full((3, 64, 64, 3), 200, np.uint8)
    grid = draw_grid(images, ["cat", "dog", "a very long name of a class that does not fit"], ["cat", "cat", "x"], 2)
    assert grid.shape == (2 * (TILE + CAPTION), 2 * TILE, 3)
    first, second = (grid[TILE : TILE + 16, x : x + TILE].astype(int) for x in (0, TILE))
    green = (first[..., 1] > first[..., 0] + 60).any()
    red = (second[..., 0] > second[..., 1] + 60).any()
    assert green
    assert red
    assert (grid[4 : TILE - 4, 4 : TILE - 4] == 200).all()


class Classifier(Plain):
    """Takes each image for the class after its own."""

    def image_class_names(self) -> list[str]:
        return [f"class {label}" for label in range(10)]

    @override
    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        return {"prediction": (batch["label"] + 1) % 10}


class Images(LightningDataModule):
    """Seven images, each of the gray of its place, of class 9 and downwards."""

    def to_images(self, image: Tensor) -> Tensor:
        return image.byte()

    @override
    def val_dataloader(self) -> DataLoader:
        image = torch.arange(7.0)[:, None, None, None].expand(-1, 3, 4, 4)
        return DataLoader([{"image": image, "label": 9 - torch.arange(7)}], batch_size=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(("count", "shown"), [(3, [0, 3, 6]), (20, range(7))])
def test_images_are_spread_over_the_batch_and_have_their_own_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, shown: list[int]
) -> None:
    drawn: list[Any] = []

    def draw(*arguments: Any) -> np.ndarray:
        drawn.append(arguments)
        return draw_grid(*arguments)

    monkeypatch.setattr("callbacks.images.validation_images.draw_grid", draw)
    trainer(tmp_path, ValidationImages(count, columns=2)).validate(Classifier(), Images(), verbose=False)
    ((images, predicted, true, columns),) = drawn
    assert images[:, 0, 0, 0].tolist() == list(shown)
    assert true == [f"class {9 - place}" for place in shown]
    assert predicted == [f"class {(10 - place) % 10}" for place in shown]
    assert columns == 2
