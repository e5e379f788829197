"""Small data sets of questions about images, made or prepared once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datamodules.text_vqa import TextVQA
from tests.datamodules.text_vqa.small_data import text_vqa_data, write_rows
from tests.noise_images import save_images

WORDS = ("what", "is", "it", "red", "?")


@pytest.fixture(scope="session")
def make(text_vqa: Path, cache: Path) -> Callable[..., TextVQA]:
    """Makes the DataModule on the small data set, with other settings where they are given."""

    def make(preprocessing: dict[str, Any] | None = None, **options: Any) -> TextVQA:
        paths = {"dataset": str(text_vqa / "data"), "cache": str(cache)}
        return text_vqa_data({"tokenizer": str(text_vqa)} | (preprocessing or {}), **(paths | options))

    return make


@pytest.fixture(scope="session")
def prepared(make: Callable[..., TextVQA]) -> Callable[..., TextVQA]:
    """The same, after what a Trainer calls first."""

    def prepare(stage: str, **options: Any) -> TextVQA:
        data = make(**options)
        data.prepare_data()
        data.setup(stage)
        return data

    return prepare


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four training and two validation questions about images in files, and a tokenizer; a test may damage them."""
    root = tmp_path / "data"
    save_images(root, 6, "png")
    (root / "vocab.txt").write_text("\n".join(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS)))
    for split, images in {"train": range(4), "val": range(4, 6)}.items():
        rows = [
            {"image": f"image_{k}.png", "question": "what is it?", "answers": [f"answer {k % 2}"] * 10} for k in images
        ]
        write_rows(root, split, rows)
    return root
