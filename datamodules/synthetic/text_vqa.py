"""A synthetic set of questions about drawn shapes, whose answers follow from the image and from nothing else.

Each image shows one to four shapes of one kind and one color on a noisy gray background. Questions ask for the color,
the kind and the number, and whether it is a certain color or kind. For each wording of a question, every possible
answer is right equally often in each split: a model that does not use the image has an accuracy of at most
:func:`image_free_accuracy`; one that does can answer everything.

Ten annotators answer; some err. Most are always right.
"""

import itertools
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from datamodules.synthetic.writing import write_set
from datamodules.vqa.scoring import ANNOTATORS

FOLDER = "synthetic-text-vqa"
SIZE = 64
COLORS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (60, 90, 240), "yellow": (235, 215, 40)}
KINDS = ("disc", "ring", "cross")
NUMBERS = ("1", "2", "3", "4")
#: Wordings of each question, with the answers that are possible.
WORDINGS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("What color is it?", "Which color do the shapes in this image have?"): tuple(COLORS),
    ("What shape is it?", "Which kind of shape does this image show?"): KINDS,
    ("How many are there?", "How many shapes can be counted in this image?"): NUMBERS,
    **{(f"Is it {color}?",): ("yes", "no") for color in COLORS},
    **{(f"Is there a {kind}?",): ("yes", "no") for kind in KINDS},
}
ERRORS = 0.1  # fraction of the annotators who err
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "?")


def image_free_accuracy() -> float:
    """The accuracy of the best answers that do not depend on the image, the same in each split."""
    wordings = [(wording, answers) for alike, answers in WORDINGS.items() for wording in alike]
    return sum(1 / len(answers) for _, answers in wordings) / len(wordings)


def make(destination: Path, train: int = 240, val: int = 36, test: int = 12, seed: int = 0) -> None:
    """Write the synthetic set unless it is there: Parquet files in ``data``, and the questions' words, ``vocab.txt``.

    Args:
        destination: the folder to make.
        train: training questions of each wording, a multiple of 12, so that all answers are right equally often.
        val: validation questions of each wording, too.
        test: test questions of each wording, too.
        seed: seed of everything that is drawn.
    """
    write_set(
        destination, partial(_write, np.random.default_rng(seed), {"train": train, "validation": val, "test": test})
    )


def _write(random: np.random.Generator, counts: dict[str, int], folder: Path) -> Path:
    from datasets import Dataset, Features, Image, List, Value

    features = Features(image=Image(), question=Value("string"), answers=List(Value("string")))
    (folder / "data").mkdir()
    for split, count in counts.items():
        rows = list(_rows(random, count))
        rows = [rows[i] for i in random.permutation(len(rows))]
        Dataset.from_list(rows, features).to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    words = {word for alike in WORDINGS for wording in alike for word in wording.lower().rstrip("?").split()}
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in (*SPECIAL_TOKENS, *sorted(words))))
    return folder


def _rows(random: np.random.Generator, count: int) -> Iterator[dict[str, Any]]:
    for alike, possible in WORDINGS.items():
        for wording, number in itertools.product(alike, range(count)):
            right = possible[number % len(possible)]
            image = _draw(random, *_scene(random, wording, right))
            answers = [str(random.choice(possible)) if random.random() < ERRORS else right for _ in range(ANNOTATORS)]
            if answers.count(right) <= ANNOTATORS / 2:
                answers = [right] * ANNOTATORS
            yield {"image": {"bytes": image, "path": None}, "question": wording, "answers": answers}


def _scene(random: np.random.Generator, wording: str, right: str) -> tuple[str, str, int]:
    """A color, a kind and a number of shapes for which an answer is right."""
    asked = wording.rstrip("?").split()[-1]
    color, kind, number = str(random.choice([*COLORS])), str(random.choice(KINDS)), int(random.integers(1, 5))
    if right in COLORS:
        color = right
    elif right in KINDS:
        kind = right
    elif right in NUMBERS:
        number = int(right)
    elif asked in COLORS:
        color = asked if right == "yes" else str(random.choice([other for other in COLORS if other != asked]))
    else:
        kind = asked if right == "yes" else str(random.choice([other for other in KINDS if other != asked]))
    return color, kind, number


def _draw(random: np.random.Generator, color: str, kind: str, number: int) -> bytes:
    """A PNG file with shapes in different quarters of the image."""
    background = int(random.integers(20, 90))
    image = Image.new("RGB", (SIZE, SIZE), (background,) * 3)
    draw = ImageDraw.Draw(image)
    for quarter in random.permutation(4)[:number]:
        radius = random.uniform(9, 13)
        x, y = (SIZE / 2 * (0.5 + part) + random.uniform(-2, 2) for part in (quarter % 2, quarter // 2))
        box, inside = ((x - r, y - r, x + r, y + r) for r in (radius, 0.55 * radius))
        if kind == "cross":
            draw.rectangle((box[0], y - radius / 4, box[2], y + radius / 4), COLORS[color])
            draw.rectangle((x - radius / 4, box[1], x + radius / 4, box[3]), COLORS[color])
        else:
            draw.ellipse(box, COLORS[color])
        if kind == "ring":
            draw.ellipse(inside, (background,) * 3)
    noisy = np.asarray(image, np.float32) + random.normal(0, 8, (SIZE, SIZE, 3))
    file = BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()
