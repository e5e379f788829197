"""Small data sets of questions about images, and DataModules on them."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import datasets
import torch
from torch import Tensor

from datamodules.text_vqa import TextVQA
from datamodules.vqa.dataset import pack_images
from datamodules.vqa.prediction import Prediction
from datamodules.vqa.preprocessing import Preprocessing
from sextant.padding import Padded

COUNTS = {"train": 156, "val": 91, "test": 13}
ANSWERS = {"red", "green", "blue", "yellow", "disc", "ring", "cross", "1", "2", "3", "4", "yes", "no"}
STAGES = {"train": "fit", "val": "validate", "test": "test"}


def text_vqa_data(preprocessing: dict[str, Any], prediction: dict[str, Any] | None = None, **options: Any) -> TextVQA:
    """The DataModule, with small images and questions where nothing else is given."""
    sizes: dict[str, Any] = {"image_size": 16, "max_question_length": 16}
    return TextVQA(
        preprocessing=Preprocessing(**sizes | preprocessing),
        prediction=Prediction(**prediction or {}),
        **{"batch_size": 12} | options,
    )


def write_rows(root: Path, split: str, rows: list[dict[str, Any]]) -> None:
    (root / f"{split}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def read_rows(root: Path, split: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / f"{split}.jsonl").read_text().splitlines()]


def data_in(
    root: Path,
    stage: str,
    preprocessing: dict[str, Any] | None = None,
    prediction: dict[str, Any] | None = None,
    **options: Any,
) -> TextVQA:
    """The questions in a folder, with a cache of their own, prepared for a stage."""
    paths = {"root": str(root), "cache": str(root.parent / "cache")}
    tokenizer = {"tokenizer": str(root / "vocab.txt")}
    data = text_vqa_data(tokenizer | (preprocessing or {}), prediction, **(paths | options))
    data.prepare_data()
    data.setup(stage)
    return data


def loader_of(data: TextVQA, split: str) -> Any:
    return {"train": data.train_dataloader, "val": data.val_dataloader, "test": data.test_dataloader}[split]()


def indices(loader: Iterable[dict[str, Any]]) -> list[list[int]]:
    return [batch["index"].tolist() for batch in loader]


def published_rows(text_vqa: Path, split: str) -> list[dict[str, Any]]:
    """The rows of the files, with images as their contents."""
    name = {"val": "validation"}.get(split, split)
    rows = datasets.Dataset.from_parquet(str(text_vqa / "data" / f"{name}-00000-of-00001.parquet"))
    return rows.cast_column("image", datasets.Image(decode=False)).to_list()


def one_batch(*images: Tensor) -> dict[str, Any]:
    """A batch of images uint8 (3, H, W) with empty questions."""
    none = Padded(torch.zeros(len(images), 0, dtype=torch.int64), torch.zeros(len(images), dtype=torch.int64))
    return {"image": pack_images(images), "question": none}
