"""Runs go on where they stopped."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from datamodules.wikitext2 import WikiText2
from sextant.samplers.fixed.shuffled import ShuffledBatches
from tests.datamodules.recorder import Recorder, bare_trainer
from tests.datamodules.text_data import BATCHINGS


def fit(data: WikiText2, folder: Path, epochs: int) -> Recorder:
    recorder = Recorder()
    bare_trainer(folder, max_epochs=epochs).fit(recorder, datamodule=data)
    return recorder


@pytest.mark.parametrize("batching", BATCHINGS)
def test_position_after_each_batch_says_what_remains_to_train_on(
    make: Callable[..., WikiText2], prepared: Callable[..., WikiText2], tmp_path: Path, batching: str
) -> None:
    recorder = fit(make(batching=batching, seed=5), tmp_path, epochs=3)
    count = 5 if batching == "windows" else 6
    assert len(recorder.batches) == 3 * count
    assert recorder.positions == [
        {"epoch": k // count, "done": [[k % count, 1]] if k % count else []} for k in range(1, 3 * count + 1)
    ]
    resumed = prepared("fit", batching=batching, seed=5)
    for k, position in enumerate(recorder.positions[:-1], 1):
        resumed.load_state_dict(position)
        assert resumed.state_dict() == position
        remaining = [batch["index"].tolist() for batch in resumed.train_dataloader()]
        assert remaining == recorder.batches[k : k // count * count + count]
        assert len([*resumed.val_dataloader()]) == 4, "validation is always whole"


@pytest.mark.parametrize("batching", BATCHINGS)
def test_epochs_after_the_one_that_was_resumed_are_whole(prepared: Callable[..., WikiText2], batching: str) -> None:
    whole, resumed = (prepared("fit", batching=batching) for _ in range(2))
    whole.load_state_dict({"epoch": 4, "done": []})
    resumed.load_state_dict({"epoch": 3, "done": [[2, 1]]})
    loader = resumed.train_dataloader()
    sampler = loader.sampler
    assert isinstance(sampler, ShuffledBatches)
    sampler.set_epoch(4)
    torch.testing.assert_close(list(loader), list(whole.train_dataloader()), rtol=0, atol=0)


def test_epochs_of_windows_have_other_borders_and_those_of_columns_the_same(
    make: Callable[..., WikiText2], tmp_path: Path
) -> None:
    windows = fit(make(batching="windows"), tmp_path, epochs=3).batches
    epochs = [sorted(itertools.chain(*windows[k : k + 5])) for k in (0, 5, 10)]
    assert len({epoch[0] % 8 for epoch in epochs}) > 1
    columns = fit(make(batching="columns"), tmp_path, epochs=2).batches
    assert columns[:6] == columns[6:]
