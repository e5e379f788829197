"""A synthetic set in Tiny-ImageNet's layout: ten shapes that can be told apart without error.

Each image shows one shape, of random color, size and position, on a noisy background of a contrasting color. The
shape alone gives the class, so a perfect classifier has an accuracy of 1.
"""

import math
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from datamodules.synthetic.writing import write_set

FOLDER = "synthetic-tiny-imagenet"
SIZE = 64
GRAYSCALE = 0.05  # fraction of grayscale files; some of the real set's are
Point = tuple[float, float]


def _polygon(corners: int, turn: float) -> list[Point]:
    return [
        (math.cos(turn + 2 * math.pi * k / corners), math.sin(turn + 2 * math.pi * k / corners)) for k in range(corners)
    ]


def _star() -> list[Point]:
    outer, inner = _polygon(5, -math.pi / 2), _polygon(5, -math.pi / 2 + math.pi / 5)
    return [point for o, i in zip(outer, inner, strict=True) for point in (o, (0.4 * i[0], 0.4 * i[1]))]


# Outlines in the unit circle, y downwards.
OUTLINES: dict[str, list[list[Point]]] = {
    "disc": [_polygon(48, 0)],
    "square": [[(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)]],
    "triangle pointing up": [_polygon(3, -math.pi / 2)],
    "triangle pointing down": [_polygon(3, math.pi / 2)],
    "horizontal bar": [[(-1, -0.3), (1, -0.3), (1, 0.3), (-1, 0.3)]],
    "vertical bar": [[(-0.3, -1), (0.3, -1), (0.3, 1), (-0.3, 1)]],
    "plus": [[(-1, -0.25), (1, -0.25), (1, 0.25), (-1, 0.25)], [(-0.25, -1), (0.25, -1), (0.25, 1), (-0.25, 1)]],
    "star": [_star()],
    "two discs": [
        [(0.4 * x - 0.6, 0.4 * y) for x, y in _polygon(32, 0)],
        [(0.4 * x + 0.6, 0.4 * y) for x, y in _polygon(32, 0)],
    ],
    "ring": [_polygon(48, 0)],
}


def make(destination: Path, train: int = 100, val: int = 20, test: int = 5, seed: int = 0) -> None:
    """Write the synthetic set unless it is there.

    Args:
        destination: the folder to make, in the layout of ``tiny-imagenet-200``.
        train: training images per class.
        val: validation images per class.
        test: unlabeled images per class.
        seed: seed of everything that is drawn.
    """
    write_set(destination, partial(_write, np.random.default_rng(seed), train, val, test))


def _write(random: np.random.Generator, train: int, val: int, test: int, folder: Path) -> Path:
    wnids = [f"n9000{k:04d}" for k in range(len(OUTLINES))]  # no WordNet id begins with 9
    (folder / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in wnids))
    (folder / "words.txt").write_text("".join(f"{w}\t{name}\n" for w, name in zip(wnids, OUTLINES, strict=True)))
    for split in ("val", "test"):
        (folder / split / "images").mkdir(parents=True)
    for wnid, name in zip(wnids, OUTLINES, strict=True):
        images = folder / "train" / wnid / "images"
        images.mkdir(parents=True)
        boxes = ""
        for k in range(train):
            box = draw(random, name, images / f"{wnid}_{k}.JPEG")
            boxes += "\t".join([f"{wnid}_{k}.JPEG", *map(str, box)]) + "\n"
        (images.parent / f"{wnid}_boxes.txt").write_text(boxes)
    annotations = ""
    for k, label in enumerate(random.permutation(len(wnids) * val) % len(wnids)):
        box = draw(random, list(OUTLINES)[label], folder / "val" / "images" / f"val_{k}.JPEG")
        annotations += "\t".join([f"val_{k}.JPEG", wnids[label], *map(str, box)]) + "\n"
    (folder / "val" / "val_annotations.txt").write_text(annotations)
    for k, label in enumerate(random.permutation(len(wnids) * test) % len(wnids)):
        draw(random, list(OUTLINES)[label], folder / "test" / "images" / f"test_{k}.JPEG")
    return folder


def draw(random: np.random.Generator, shape: str, file: Path) -> tuple[int, int, int, int]:
    """Write one image and return the box of its shape (x0, y0, x1, y1) in pixels."""
    background = random.integers(0, 256, 3)
    color = (background + random.integers(80, 176, 3)) % 256  # differs by 80 or more in every channel
    if abs(int(color.mean()) - int(background.mean())) < 50:  # a grayscale copy must show it too
        color = np.full(3, 235 if background.mean() < 128 else 20)
    image = Image.new("RGB", (SIZE, SIZE), tuple(map(int, background)))
    draw = ImageDraw.Draw(image)
    radius = random.uniform(14, 24)
    x, y = random.uniform(radius + 2, SIZE - radius - 2, 2)
    for outline in OUTLINES[shape]:
        draw.polygon([(x + radius * px, y + radius * py) for px, py in outline], fill=tuple(map(int, color)))
    if shape == "ring":
        hole = 0.55 * radius
        draw.ellipse((x - hole, y - hole, x + hole, y + hole), fill=tuple(map(int, background)))
    noisy = np.asarray(image, np.float32) + random.normal(0, 12, (SIZE, SIZE, 3))
    image = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    if random.random() < GRAYSCALE:
        image = image.convert("L")
    image.save(file, "JPEG", quality=90)
    return int(x - radius), int(y - radius), int(x + radius), int(y + radius)
