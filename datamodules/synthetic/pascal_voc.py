"""A synthetic set in Pascal VOC's layout: colored shapes on a textured background, with masks.

Each of four shapes has a color of its own, up to some variation, so a perfect model has a mean IoU of 1.
"""

import colorsys
import math
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from datamodules.images.voc_palette import IGNORED, voc_palette
from datamodules.synthetic.writing import write_set

FOLDER = "synthetic-pascal-voc"
BORDER = 5  # ignored pixels around a shape
Point = tuple[float, float]


def _ring(radii: list[float], turn: float = -math.pi / 2) -> list[Point]:
    """Corners at equal angles, at these distances from the center."""
    angles = [turn + 2 * math.pi * k / len(radii) for k in range(len(radii))]
    return [(r * math.cos(a), r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]


# Outlines of about the area of a unit disc, y downwards, with the hue of their color.
SHAPES: dict[str, tuple[list[Point], float]] = {
    "disc": (_ring([1.0] * 48), 0.0),
    "square": (_ring([1.0] * 4, math.pi / 4), 0.25),
    "triangle": (_ring([1.35] * 3), 0.5),
    "star": (_ring([1.3, 0.7] * 5), 0.75),
}


def make(
    destination: Path,
    train: int = 160,
    val: int = 20,
    sides: tuple[int, int] = (80, 120),
    seed: int = 0,
) -> None:
    """Write the synthetic set unless it is there.

    Args:
        destination: the folder to make, in the layout of ``VOCdevkit/VOC2012``, with the names of the classes in
            ``classes.txt``.
        train: training images.
        val: validation images.
        sides: shortest and longest side of an image, in pixels.
        seed: seed of everything that is drawn.
    """
    write_set(destination, partial(_write, np.random.default_rng(seed), {"train": train, "val": val}, sides))


def _write(random: np.random.Generator, counts: dict[str, int], sides: tuple[int, int], folder: Path) -> Path:
    lists = folder / "ImageSets" / "Segmentation"
    for path in (lists, folder / "JPEGImages", folder / "SegmentationClass"):
        path.mkdir(parents=True)
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in ("background", *SHAPES)))
    for split, count in counts.items():
        names = [f"sample_{split}_{k:06d}" for k in range(count)]
        for name in names:
            width, height = random.integers(sides[0], sides[1], 2, endpoint=True).tolist()
            image, mask = draw(random, width, height)
            image.save(folder / "JPEGImages" / f"{name}.jpg", quality=90)
            mask.save(folder / "SegmentationClass" / f"{name}.png")
        (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    return folder


def draw(random: np.random.Generator, width: int, height: int) -> tuple[Image.Image, Image.Image]:
    """Draw an image of one or two shapes, and its mask with a border around each shape that is ignored."""
    image, mask = _background(random, width, height), Image.new("P", (width, height), 0)
    mask.putpalette(voc_palette().tobytes())
    for _ in range(random.integers(1, 3)):
        label = int(random.integers(1, len(SHAPES) + 1))
        outline, hue = list(SHAPES.values())[label - 1]
        radius = random.uniform(0.32, 0.48) * min(width, height)
        x, y = random.uniform(0.15, 0.85, 2) * (width, height)
        turn = random.uniform(-0.3, 0.3)
        corners = [
            (
                x + radius * (px * math.cos(turn) - py * math.sin(turn)),
                y + radius * (px * math.sin(turn) + py * math.cos(turn)),
            )
            for px, py in outline
        ]
        color = colorsys.hsv_to_rgb(
            (hue + random.uniform(-0.04, 0.04)) % 1, random.uniform(0.75, 1), random.uniform(0.7, 1)
        )
        ImageDraw.Draw(image).polygon(corners, fill=tuple(round(255 * c) for c in color))
        ImageDraw.Draw(mask).polygon(corners, fill=label, outline=IGNORED, width=BORDER)
    noisy = np.asarray(image, np.float32) + random.normal(0, 10, (height, width, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)), mask


def _background(random: np.random.Generator, width: int, height: int) -> Image.Image:
    """A texture of dull colors with stripes across."""
    blotches = Image.fromarray(random.integers(70, 180, (5, 5, 3)).astype(np.uint8))
    gray = np.asarray(blotches.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    gray = 0.6 * gray.mean(-1, keepdims=True) + 0.4 * gray
    angle, wavelength = random.uniform(0, math.pi), random.uniform(4, 12)
    rows, columns = np.mgrid[:height, :width]
    stripes = np.sin(2 * math.pi / wavelength * (columns * math.cos(angle) + rows * math.sin(angle)))
    return Image.fromarray((gray + 20 * stripes[..., None]).clip(0, 255).astype(np.uint8))
