"""Loaders begin where a run stopped, and what is drawn depends on the step alone."""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from datamodules.tiny_imagenet import TinyImageNet
from sextant.datamodule import BaseDataModule
from sextant.loaders import TimedDataLoader
from sextant.resume.partial_epoch import PartialEpoch
from sextant.samplers.fixed.shuffled import ShuffledBatches
from tests.datamodules.recorder import Recorder, bare_trainer


class Numbers(Dataset):
    """Batches ``{"index": int64 (B,)}``."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    @override
    def __getitem__(self, indices: list[int]) -> dict[str, Tensor]:
        return {"index": torch.tensor(indices)}


class NumbersData(BaseDataModule):
    """20 training samples in batches of 4, and 6 for validation."""

    def __init__(self, num_workers: int = 0, seed: int = 0) -> None:
        super().__init__(num_workers, seed)
        self.batch_size = 4
        self.transformed: list[bool] = []

    @override
    def train_dataloader(self) -> TimedDataLoader:
        return self.loader(Numbers(20), training=True)

    @override
    def val_dataloader(self) -> TimedDataLoader:
        return self.loader(Numbers(6))

    @override
    def transform(self, batch: dict[str, Tensor], training: bool) -> dict[str, Tensor]:
        self.transformed.append(training)
        return batch | {"drawn": torch.rand(1)}


class DrawRecorder(Recorder):
    """Keeps what is drawn for the batches as well."""

    def __init__(self, extra_draws: int = 0) -> None:
        super().__init__()
        self.extra_draws = extra_draws
        self.drawn: list[float] = []

    @override
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        torch.rand(self.extra_draws)
        self.drawn.append(batch["drawn"].item())
        return super().training_step(batch, batch_idx)

    @override
    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        torch.rand(self.extra_draws)


def fit(
    data: NumbersData,
    folder: Path,
    epochs: int = 3,
    extra_draws: int = 0,
    callbacks: Sequence[Callback] = (),
    ckpt_path: Path | None = None,
) -> DrawRecorder:
    recorder = DrawRecorder(extra_draws)
    trainer = bare_trainer(folder, max_epochs=epochs, callbacks=list(callbacks))
    trainer.fit(recorder, datamodule=data, ckpt_path=ckpt_path)
    return recorder


def indices(loader: Iterable[dict[str, Tensor]]) -> list[list[int]]:
    return [batch["index"].tolist() for batch in loader]


@pytest.mark.parametrize("shuffle", [False, True])
def test_loaders_with_and_without_workers_give_the_same_batches(
    tiny_imagenet: Path, cache: Path, shuffle: bool
) -> None:
    found = []
    for num_workers in (0, 2):
        data = TinyImageNet(str(tiny_imagenet), cache=str(cache), batch_size=16, num_workers=num_workers, seed=3)
        data.prepare_data()
        data.setup("fit")
        loader = data.train_dataloader() if shuffle else data.val_dataloader()
        assert loader.num_workers == num_workers
        assert len(loader) == (5 if shuffle else 3)
        found.append([*loader, *loader])  # twice: workers stay for the next epoch
    assert len(found[0]) == (10 if shuffle else 6)
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_loader_begins_at_the_position_that_was_loaded(num_workers: int) -> None:
    whole = NumbersData()
    whole.load_state_dict({"epoch": 3, "done": []})
    data = NumbersData(num_workers)
    data.load_state_dict({"epoch": 3, "done": [[2, 1]]})
    assert data.state_dict() == {"epoch": 3, "done": [[2, 1]]}
    loader = data.train_dataloader()
    assert indices(loader) == indices(whole.train_dataloader())[2:]
    assert indices(data.val_dataloader()) == [[0, 1, 2], [3, 4, 5]]


def test_epochs_after_the_one_that_was_resumed_are_whole() -> None:
    data, whole = NumbersData(), NumbersData()
    data.load_state_dict({"epoch": 3, "done": [[2, 1]]})
    whole.load_state_dict({"epoch": 4, "done": []})
    loader = data.train_dataloader()
    sampler = loader.sampler
    assert isinstance(sampler, ShuffledBatches)
    sampler.set_epoch(3)
    assert len(indices(loader)) == 3
    sampler.set_epoch(4)
    assert indices(loader) == indices(whole.train_dataloader())


def test_position_after_each_batch_says_what_is_left_to_train_on(tmp_path: Path) -> None:
    recorder = fit(NumbersData(), tmp_path)
    assert len(recorder.batches) == 15
    expected = [{"epoch": k // 5, "done": [[k % 5, 1]] if k % 5 else []} for k in range(1, 16)]
    assert recorder.positions == expected
    for k, position in enumerate(recorder.positions[:-1]):
        resumed = NumbersData()
        resumed.load_state_dict(position)
        rest = recorder.batches[k + 1 :]
        assert indices(resumed.train_dataloader()) == rest[: 5 - sum(steps for steps, _ in position["done"])]


class SavesEach(Callback):
    """Writes a checkpoint after each step, by its number."""

    @override
    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        trainer.save_checkpoint(Path(trainer.default_root_dir) / f"{trainer.global_step}.ckpt")


def test_run_that_is_resumed_again_and_again_goes_on_where_it_was(tmp_path: Path) -> None:
    """Each run goes on one step after the beginning of the run before it, whose checkpoint it takes."""
    whole = fit(NumbersData(), tmp_path, epochs=2, callbacks=[SavesEach()])
    for step in range(1, 8):
        resumed = fit(
            NumbersData(), tmp_path, 2, callbacks=[PartialEpoch(), SavesEach()], ckpt_path=tmp_path / f"{step}.ckpt"
        )
        assert resumed.batches == whole.batches[step:]
        assert [position["epoch"] for position in resumed.positions] == [k // 5 for k in range(step + 1, 11)]
        done = [sum(steps for steps, _ in position["done"]) for position in resumed.positions]
        assert done == [k % 5 for k in range(step + 1, 11)]


def test_each_epoch_of_a_fit_has_every_sample_once_in_its_own_order(tmp_path: Path) -> None:
    batches = fit(NumbersData(), tmp_path).batches
    epochs = [list(itertools.chain(*batches[k : k + 5])) for k in (0, 5, 10)]
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_what_is_drawn_for_a_training_batch_depends_on_seed_and_step_alone(tmp_path: Path) -> None:
    first = fit(NumbersData(seed=1), tmp_path)
    torch.manual_seed(123)
    second = fit(NumbersData(num_workers=1, seed=1), tmp_path, extra_draws=7)
    other = fit(NumbersData(seed=2), tmp_path)
    assert first.drawn == second.drawn
    assert first.batches == second.batches
    assert len({*first.drawn, *other.drawn}) == 30
    assert first.batches != other.batches


def in_step(epoch: int, batch: int, rank: int, training: bool = True) -> Any:
    """A Trainer in the middle of a run, as far as randomness is concerned."""
    current = SimpleNamespace(ready=batch)
    epoch_loop = SimpleNamespace(batch_progress=SimpleNamespace(current=current))
    fit_loop = SimpleNamespace(epoch_loop=epoch_loop)
    return SimpleNamespace(training=training, current_epoch=epoch, global_rank=rank, fit_loop=fit_loop)


def test_what_is_drawn_differs_between_seeds_epochs_batches_and_ranks() -> None:
    def drawn(seed: int, epoch: int, batch: int, rank: int) -> float:
        data = NumbersData(seed=seed)
        data.trainer = in_step(epoch, batch, rank)
        data.on_before_batch_transfer({}, 0)
        return torch.rand(1).item()

    keys = list(itertools.product(range(3), repeat=4))
    assert len({drawn(*key) for key in keys}) == len(keys)
    assert drawn(0, 1, 2, 1) == drawn(0, 1, 2, 1)


def test_randomness_outside_of_training_is_left_alone() -> None:
    data = NumbersData()
    before = torch.get_rng_state()
    data.on_before_batch_transfer({}, 0)
    data.trainer = in_step(0, 0, 0, training=False)
    data.on_before_batch_transfer({}, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_only_training_batches_are_augmented(tmp_path: Path) -> None:
    data = NumbersData()
    fit(data, tmp_path, epochs=1)
    sanity, validation = 2, 2
    assert data.transformed == [False] * sanity + [True] * 5 + [False] * validation


def test_what_is_no_batch_passes_through_untouched() -> None:
    data = NumbersData()
    image = torch.zeros(1, 3, 64, 64)
    assert data.on_after_batch_transfer(image, 0) is image
    assert data.transformed == []
