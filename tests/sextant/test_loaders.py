"""The loader counts how long training waits for it, and begins anew where it was left."""

import itertools
import multiprocessing
import time
from collections.abc import Iterable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from sextant.errors import InputError
from sextant.loaders import TimedDataLoader
from sextant.samplers.fixed.shuffled import ShuffledBatches

NAP = 0.02


class Numbers(Dataset):
    """Batches ``{"index": int64 (B,)}``, each given after a nap."""

    def __init__(self, nap: float = 0.0) -> None:
        self.nap = nap

    @override
    def __getitem__(self, indices: list[int]) -> dict[str, Tensor]:
        time.sleep(self.nap)
        return {"index": torch.tensor(indices)}


def loader_of(dataset: Dataset, num_workers: int = 0) -> TimedDataLoader:
    """Four batches of one sample."""
    sampler = ShuffledBatches(4, 1, shuffle=False)
    return TimedDataLoader(dataset, sampler=sampler, batch_size=None, num_workers=num_workers)


def indices(loader: Iterable[dict[str, Tensor]]) -> list[list[int]]:
    return [batch["index"].tolist() for batch in loader]


def test_waiting_for_batches_is_counted() -> None:
    loader = loader_of(Numbers(NAP))
    assert loader.waited == 0.0
    assert indices(loader) == [[0], [1], [2], [3]]
    assert loader.waited >= 4 * NAP
    assert indices(loader) == [[0], [1], [2], [3]]
    assert loader.waited >= 8 * NAP


def test_what_the_training_loop_does_between_batches_is_not_counted_as_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = 0.0

    class TakesASecond(Numbers):
        @override
        def __getitem__(self, indices: list[int]) -> dict[str, Tensor]:
            nonlocal clock
            clock += 1
            return super().__getitem__(indices)

    monkeypatch.setattr("sextant.loaders.time", SimpleNamespace(perf_counter=lambda: clock))
    loader = loader_of(TakesASecond())
    for _ in loader:
        clock += 100
    assert clock == 404
    assert loader.waited == 4


def test_loader_that_is_left_early_begins_again_at_the_start() -> None:
    loader = loader_of(Numbers())
    assert indices(itertools.islice(loader, 2)) == [[0], [1]]
    assert indices(loader) == [[0], [1], [2], [3]]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_bad_input_in_a_worker_is_said_in_one_message(num_workers: int) -> None:
    class Damaged(Numbers):
        @override
        def __getitem__(self, indices: list[int]) -> dict[str, Tensor]:
            raise InputError("a.png: no image.")

    with pytest.raises(InputError, match=r"^a\.png: no image\.$"):
        list(loader_of(Damaged(), num_workers))


def test_process_that_multiprocessing_started_ends_between_two_batches() -> None:
    """It asks its children to end, with a signal that workers do not heed, and would wait for them for ever."""
    kept = []

    def work() -> None:
        kept.append(iter(loader_of(Numbers(), num_workers=2)))
        next(kept[0])

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(30)
    code = process.exitcode
    process.kill()
    assert code == 0
