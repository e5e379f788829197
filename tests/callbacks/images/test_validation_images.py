"""The grid of images."""

import numpy as np

from callbacks.images.validation_images import CAPTION, TILE, draw_grid


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
