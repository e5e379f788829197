"""A small set of one's own for each workload, in the folders and files that docs/own-data.md tells of."""

import json
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

COLORS = {"red": (200, 50, 50), "green": (50, 200, 50), "blue": (50, 50, 200)}


def make(folder: Path) -> None:
    """Write all of them into a folder."""
    random = np.random.default_rng(0)
    _photos(folder / "photos")
    _text(folder / "text", random)
    _recordings(folder / "speech", random)
    _questions(folder / "questions")
    (folder / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "what", "color", "is", "it", "?"])
    )
    _clicks(folder / "clicks", random)
    _masks(folder / "voc")


def _image(file: Path, color: tuple[int, int, int], size: tuple[int, int] = (90, 70)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(file)


def _photos(folder: Path) -> None:
    for name, color in COLORS.items():
        for number in range(40):
            _image(folder / name / f"{number}.jpg", color)


def _text(folder: Path, random: np.random.Generator) -> None:
    folder.mkdir(parents=True)
    for split, count in {"train": 3000, "valid": 300, "test": 300}.items():
        lines = random.choice(list("abcdefg"), size=(count, 12))
        (folder / f"{split}.txt").write_text("".join(" ".join(line) + "\n" for line in lines))


def _recordings(folder: Path, random: np.random.Generator) -> None:
    for split, count in {"train": 30, "val": 6}.items():
        chapter = folder / split / "anna" / "1"
        chapter.mkdir(parents=True)
        for number in range(count):
            soundfile.write(chapter / f"{number}.flac", random.normal(0, 0.1, 32_000).astype("float32"), 16_000)
        (chapter / "anna-1.trans.txt").write_text("".join(f"{number} HELLO WORLD\n" for number in range(count)))


def _questions(folder: Path) -> None:
    for split, count in {"train": 60, "val": 20}.items():
        rows = []
        for number in range(count):
            answer = ("red", "blue")[number % 2]
            _image(folder / split / f"{number}.png", COLORS[answer], (40, 40))
            row = {"image": f"{split}/{number}.png", "question": "what color is it?", "answer": answer}
            rows.append(json.dumps(row) + "\n")
        (folder / f"{split}.jsonl").write_text("".join(rows))


def _clicks(folder: Path, random: np.random.Generator) -> None:
    folder.mkdir(parents=True)
    for split, count in {"train": 4000, "val": 500}.items():
        columns = [random.integers(0, high, count) for high in (2, 100, 80, 50, 200)]
        rows = [
            f"{clicked},{price},{age},u{user},{item}\n"
            for clicked, price, age, user, item in zip(*columns, strict=True)
        ]
        (folder / f"{split}.csv").write_text("".join(["clicked,price,age,user,item\n", *rows]))


def _masks(folder: Path) -> None:
    (folder / "SegmentationClass").mkdir(parents=True)
    for number in range(12):
        _image(folder / "JPEGImages" / f"{number}.jpg", (128, 128, 128), (100, 80))
        mask = np.zeros((80, 100), np.uint8)
        mask[20:60, 20:60] = 1 + number % 2
        Image.fromarray(mask).save(folder / "SegmentationClass" / f"{number}.png")
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("".join(f"{number}\n" for number in range(8)))
    (lists / "val.txt").write_text("".join(f"{number}\n" for number in range(8, 12)))
    (folder / "classes.txt").write_text("background\nsquare\nblock\n")
