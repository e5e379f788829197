"""Small data sets in the real on-disk formats, made once for all tests that read them."""

import random
from collections.abc import Callable
from pathlib import Path


def _tiny_imagenet(folder: Path, train: int, val: int, test: int) -> Path:
    from datamodules.synthetic import tiny_imagenet as synthetic

    root = folder / "tiny-imagenet-200"
    synthetic.make(root, train=train, val=val, test=test)
    return root


def tiny_imagenet(folder: Path) -> Path:
    """Tiny-ImageNet's layout: 10 classes, 80 training, 40 validation, 20 test images."""
    return _tiny_imagenet(folder, train=8, val=4, test=2)


def few_images(folder: Path) -> Path:
    """A smaller one: 10 classes, 40 training, 20 validation, 10 test images."""
    return _tiny_imagenet(folder, train=4, val=2, test=1)


def cache(folder: Path) -> Path:
    """Where decoded data is kept."""
    return folder


def wikitext2(folder: Path) -> Path:
    """WikiText-2's layout: 170 training, 45 validation, 50 test tokens, 14 words with <eos>, <unk>."""
    root = folder / "wikitext-2"
    root.mkdir()
    draw = random.Random(0)
    words = ["<unk>", *(f"word{i}" for i in range(12))]
    for split, tokens in {"train": 170, "valid": 45, "test": 50}.items():
        first = words[:] if split == "train" else []
        text = first + draw.choices([*words, "\n"], k=tokens - 1 - len(first))
        (root / f"{split}.txt").write_text(" ".join(["", *text, "\n"]))
    return root


def librispeech(folder: Path) -> Path:
    """LibriSpeech's layout: 14 training, 6 validation, 4 test utterances of 0.7 to 2.7 s."""
    import numpy as np

    from datamodules.synthetic import librispeech as synthetic

    root = folder / "LibriSpeech"
    for seed, (subset, count) in enumerate({"train-small": 14, "dev-small": 6, "test-small": 4}.items()):
        synthetic.write_subset(root / subset, np.linspace(0.4, 1.6, count), np.random.default_rng([seed, 2]))
    return root


def criteo(folder: Path) -> Path:
    """Criteo's layout: ``train.txt`` with 70 rows."""
    from datamodules.synthetic import criteo as synthetic

    root = folder / "criteo"
    synthetic.make(root, rows=70)
    return root


def click_log(folder: Path) -> Path:
    """Frappe's layout: 40, 12 and 12 rows with a label and ten categories, and no numbers."""
    draw = random.Random(0)
    columns = ["user", "item", "daytime", "weekday", "isweekend", "homework", "cost", "weather", "country", "city"]
    for split, rows in {"train": 40, "valid": 12, "test": 12}.items():
        lines = [
            ["label", *columns],
            *([draw.choice("01"), *(draw.choice("1234") for _ in columns)] for _ in range(rows)),
        ]
        (folder / f"{split}.csv").write_text("".join(f"{','.join(line)}\n" for line in lines))
    return folder


def text_vqa(folder: Path) -> Path:
    """Questions about images: 156 training, 91 validation, 13 test questions, 13 answers.

    In ``data`` Parquet files with the columns of the Hugging Face hub's TextVQA, and ``vocab.txt``.
    """
    from datamodules.synthetic import text_vqa as synthetic

    root = folder / "text-vqa"
    synthetic.make(root, train=12, val=7, test=1)
    return root


def pascal_voc(folder: Path) -> Path:
    """Pascal VOC's layout: 5 classes, 20 training, 3 validation images of 40 to 56 pixels."""
    from datamodules.synthetic import pascal_voc as synthetic

    root = folder / "VOC2012"
    synthetic.make(root, train=20, val=3, sides=(40, 56))
    return root


#: What makes each set in an empty folder and returns its root, by the name of its fixture.
MAKERS: dict[str, Callable[[Path], Path]] = {
    make.__name__: make
    for make in (tiny_imagenet, few_images, cache, wikitext2, librispeech, criteo, click_log, text_vqa, pascal_voc)
}
