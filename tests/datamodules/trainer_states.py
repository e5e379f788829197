"""A Trainer in a state of a run, as far as a DataModule asks it."""

from types import SimpleNamespace
from typing import Any

import torch

STATES = ("training", "validating", "sanity_checking", "testing", "predicting")


def during(state: str, rank: int = 0, world_size: int = 1) -> Any:
    """A Trainer in a state, one of several processes if need be."""
    flags = dict.fromkeys(STATES, False) | {state: True}
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    return SimpleNamespace(**flags, global_rank=rank, world_size=world_size, strategy=strategy)
