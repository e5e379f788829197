"""The small speech data for tests: the DataModule with flat settings, and what is known of its files."""

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from datamodules.librispeech import LibriSpeech
from datamodules.speech.augmentation import Augmentation
from datamodules.speech.batching import Batching
from datamodules.speech.log_mel import Features
from datamodules.speech.segments import Prediction
from datamodules.speech.subsets import Subsets
from datamodules.speech.tokenizers import Tokenization

GROUPS: dict[str, Any] = {
    "subsets": Subsets,
    "prediction": Prediction,
    "features": Features,
    "tokenizer": Tokenization,
    "batching": Batching,
    "augmentation": Augmentation,
}
#: For each setting within a group, the group.
GROUP_OF = {field.name: name for name, group in GROUPS.items() for field in fields(group)}

RATE = 16000
FEATURES = 20
COUNTS = {"train": 14, "val": 6, "test": 4}
SLOWEST = 0.9
BUDGET = 6.0  # seconds

#: Enough for several batches of each split.
SMALL: dict[str, Any] = {
    "train": ["train-small"],
    "val": ["dev-small"],
    "test": ["test-small"],
    "num_features": FEATURES,
    "max_batch_length": BUDGET,
    "time_mask_width": 10,
    "time_mask_fraction": 0.3,
    "feature_mask_width": 5,
}
#: Settings under which training batches are not changed at random.
PLAIN: dict[str, Any] = {"speeds": [], "time_masks": 0, "feature_masks": 0}


def librispeech(**settings: Any) -> LibriSpeech:
    """Make the speech data.

    Args:
        settings: of the DataModule or of one of its groups.
    """
    grouped: dict[str, dict[str, Any]] = {}
    for key in settings.keys() & GROUP_OF.keys():
        grouped.setdefault(GROUP_OF[key], {})[key] = settings.pop(key)
    return LibriSpeech(**settings, **{name: GROUPS[name](**values) for name, values in grouped.items()})


def during(state: str, rank: int = 0, world_size: int = 1) -> Any:
    """A Trainer in a state, as far as a DataModule asks it."""
    flags = dict.fromkeys(("training", "validating", "sanity_checking", "testing", "predicting"), False) | {state: True}
    progress = SimpleNamespace(ready=0, started=0, processed=0, completed=0)
    fit_loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=SimpleNamespace(current=progress)))
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    return SimpleNamespace(
        **flags, global_rank=rank, world_size=world_size, strategy=strategy, fit_loop=fit_loop, current_epoch=0
    )


def loader_of(data: LibriSpeech, split: str) -> Any:
    return {"train": data.train_dataloader, "val": data.val_dataloader, "test": data.test_dataloader}[split]()


def recordings(root: Path, split: str) -> list[Path]:
    """The files of a split, in order."""
    return sorted(file for subset in SMALL[split] for file in (root / subset).glob("*/*/*.flac"))


def transcripts(root: Path, split: str) -> list[str]:
    """What is said in these files, read as simply as can be."""
    files = [file for subset in SMALL[split] for file in sorted((root / subset).glob("*/*/*.trans.txt"))]
    return [line.split(" ", 1)[1] for file in files for line in file.read_text().splitlines()]


def indices(loader: Iterable[dict[str, Any]]) -> list[list[int]]:
    return [batch["index"].tolist() for batch in loader]


def epoch_of(data: LibriSpeech, epoch: int, rank: int = 0, world_size: int = 1) -> list[list[int]]:
    """The batches of a whole epoch."""
    data.trainer = during("training", rank, world_size)
    data.load_state_dict({"epoch": epoch, "done": []})
    return list(data.train_dataloader().sampler)


def assert_same(found: Any, wanted: Any) -> None:
    """Batches are equal, bit by bit."""
    assert type(found) is type(wanted)
    if isinstance(found, Tensor):
        assert torch.equal(found, wanted)
    elif isinstance(found, dict):
        assert found.keys() == wanted.keys()
        for key in found:
            assert_same(found[key], wanted[key])
    elif isinstance(found, (list, tuple)):
        assert len(found) == len(wanted)
        for pair in zip(found, wanted, strict=True):
            assert_same(*pair)
    else:
        assert found == wanted
