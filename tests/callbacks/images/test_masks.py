"""Masks as images for people."""

import numpy as np
import pytest
from PIL import Image

from callbacks.images.masks import add_legend, choose_colors, index_mask, overlay
from datamodules.images.voc_palette import voc_palette
from sextant.errors import InputError

NAMES = ["background", "person", "dog", "sheep"]


def test_palette_is_that_of_pascal_voc() -> None:
    palette = voc_palette()
    known = {0: (0, 0, 0), 1: (128, 0, 0), 5: (128, 0, 128), 15: (192, 128, 128), 20: (0, 64, 128)}
    known |= {255: (224, 224, 192), 12: (64, 0, 128)}
    assert {label: tuple(palette[label].tolist()) for label in known} == known
    assert len(np.unique(palette, axis=0)) == 256


def test_mask_keeps_its_labels_in_a_palette_image() -> None:
    labels = np.array([[0, 3, 255], [15, 1, 2]], np.uint8)
    image = index_mask(labels)
    assert image.mode == "P"
    assert np.array_equal(np.asarray(image), labels)
    assert np.array_equal(np.asarray(image.convert("RGB")), voc_palette()[labels])


def test_chosen_classes_have_their_colors_and_all_others_are_black() -> None:
    colors = choose_colors(NAMES, {"person": "red", "dog": "#00ff00"})
    assert colors[1].tolist() == [255, 0, 0]
    assert colors[2].tolist() == [0, 255, 0]
    assert not colors[[0, 3, 255]].any()


def test_unknown_class_or_color_is_named() -> None:
    with pytest.raises(InputError, match="no class 'cat' to color; there are background, person, dog, sheep"):
        choose_colors(NAMES, {"cat": "red"})
    with pytest.raises(InputError, match="'no color', the color of 'dog'"):
        choose_colors(NAMES, {"dog": "no color"})


def test_overlay_blends_colored_classes_and_leaves_all_others() -> None:
    image = np.full((1, 3, 3), 100, np.uint8)
    colors = choose_colors(NAMES, {"person": "#c80000"})
    blended = np.asarray(overlay(image, np.array([[0, 1, 255]], np.uint8), colors, opacity=0.5))
    assert blended[0].tolist() == [[100, 100, 100], [150, 50, 50], [100, 100, 100]]
    undecided = np.asarray(overlay(image, np.array([[255, 0, 0]], np.uint8), voc_palette()))
    assert undecided[0, 0].tolist() == [100, 100, 100]


@pytest.mark.parametrize("size", [(400, 300), (40, 8), (1, 1)])
def test_legend_shows_the_colors_that_occur_without_changing_the_size(size: tuple[int, int]) -> None:
    mask = np.zeros((size[1], size[0]), np.uint8)
    mask[-1] = 2
    image = Image.new("RGB", size, (90, 90, 90))
    drawn = np.asarray(add_legend(image, mask, NAMES, choose_colors(NAMES, {"dog": "lime", "sheep": "blue"})))
    assert drawn.shape == (size[1], size[0], 3)
    if size[0] == 400:
        corner = drawn[:40, :200].astype(int)
        assert ((corner[..., 1] - corner[..., 0] > 100) & (corner[..., 1] - corner[..., 2] > 100)).any()
        assert not (corner[..., 2] - corner[..., 0] > 100).any()  # no sheep
        assert (drawn[60:, 210:] == 90).all()
