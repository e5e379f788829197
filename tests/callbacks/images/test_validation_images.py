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

from callbacks.card import TEXT, WIDTH
from callbacks.images.validation_images import CAPTION, Classified, ValidationImages, draw_grid
from tests.callbacks.small_run import Plain, trainer


def test_grid_has_room_for_all_images_and_marks_right_and_wrong() -> None:
    names = ["cat", "dog", "a very long name of a class that does not fit"]
    image = np.full((64, 64, 3), 200, np.uint8)
    grid = draw_grid([Classified(image, 0, 0), Classified(image, 1, 0), Classified(image, 2, 2)], names, 2)
    side = WIDTH // 2
    assert grid.shape == (2 * (side + CAPTION), 2 * side, 3)
    first, second = (grid[side : side + TEXT, x : x + side].astype(int) for x in (0, side))
    green = (first[..., 1] > first[..., 0] + 60).any()
    red = (second[..., 0] > second[..., 1] + 60).any()
    assert green
    assert red
    assert (grid[4 : side - 4, 4 : side - 4] == 200).all()
    long = grid[2 * side + CAPTION :, side - 4 :]
    assert (long == 255).all()  # it ends where the next image would begin


class Classifier(Plain):
    """Takes each image for the class after its own."""

    def image_class_names(self) -> list[str]:
        return [f"class {label}" for label in range(10)]

    @override
    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        return {"prediction": (batch["label"] + 1) % 10}


class Images(LightningDataModule):
    """Images each of the gray of its place, of class 9 and downwards, in batches.

    Args:
        sizes: of the batches.
    """

    def __init__(self, sizes: list[int]) -> None:
        super().__init__()
        self.sizes = sizes

    def to_images(self, image: Tensor) -> Tensor:
        return image.byte()

    @override
    def val_dataloader(self) -> DataLoader:
        places = torch.arange(sum(self.sizes)).split(self.sizes)
        batches = [{"image": place[:, None, None, None].expand(-1, 3, 4, 4), "label": 9 - place} for place in places]
        return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("count", "sizes", "places"),
    [(3, [7], [0, 3, 6]), (20, [7], range(7)), (2, [2, 2, 2, 2], [1, 5]), (5, [4, 4, 2], [0, 3, 4, 7, 9])],
)
def test_images_are_spread_over_the_validation_and_have_their_own_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, sizes: list[int], places: list[int]
) -> None:
    drawn: list[Any] = []

    def draw(*arguments: Any) -> np.ndarray:
        drawn.append(arguments)
        return draw_grid(*arguments)

    monkeypatch.setattr("callbacks.images.validation_images.draw_grid", draw)
    run = trainer(tmp_path, ValidationImages(count, columns=2), limit_val_batches=1.0)
    run.validate(Classifier(), Images(sizes), verbose=False)
    ((shown, names, columns),) = drawn
    assert [one.image[0, 0, 0] for one in shown] == list(places)
    assert [one.true for one in shown] == [9 - place for place in places]
    assert [one.predicted for one in shown] == [(10 - place) % 10 for place in places]
    assert names == [f"class {label}" for label in range(10)]
    assert columns == 2
