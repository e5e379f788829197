"""The small text for tests, and what is known of it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from datamodules.text.sources import FILE_NAMES
from datamodules.text.token_stream import EOS
from datamodules.text.windows import Evaluation
from datamodules.wikitext2 import WikiText2

BATCHINGS = ("windows", "columns")

#: Enough for several batches of each split.
SMALL: dict[str, Any] = {
    "batch_size": 4,
    "sequence_length": 8,
    "eval_length": 8,
    "eval_stride": 3,
    "eval_batch_size": 4,
}


def wikitext2(**settings: Any) -> WikiText2:
    """Make the text data.

    Args:
        settings: of the DataModule; those that begin with ``eval_`` are of its group ``evaluation``.
    """
    evaluation = {key: settings.pop(key) for key in list(settings) if key.startswith("eval_")}
    grouped = {key.removeprefix("eval_"): value for key, value in evaluation.items()}
    return WikiText2(**settings, evaluation=Evaluation(**grouped))


def during(state: str, rank: int = 0, world_size: int = 1) -> Any:
    """A Trainer in a state, as far as a DataModule asks it."""
    flags = dict.fromkeys(("training", "validating", "sanity_checking", "testing", "predicting"), False) | {state: True}
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    return SimpleNamespace(**flags, global_rank=rank, world_size=world_size, strategy=strategy)


def tokens(root: Path, split: str) -> list[str]:
    """The words of a split, read as simply as can be."""
    return (root / FILE_NAMES[split][0]).read_text().replace("\n", f" {EOS} ").split()


def write_tokens(root: Path, **counts: int) -> Path:
    """Splits of so many tokens, with ``<eos>``."""
    root.mkdir(parents=True, exist_ok=True)
    for split, count in counts.items():
        (root / FILE_NAMES[split][0]).write_text(" ".join(f"w{k % 5}" for k in range(count - 1)) + "\n")
        assert len(tokens(root, split)) == count
    return root
