"""Runs give batches that are changed at random the same way each time, and go on where they stopped."""

import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor
from typing_extensions import override

from datamodules.librispeech import LibriSpeech
from sextant.errors import InputError
from tests.datamodules.recorder import Recorder, bare_trainer
from tests.datamodules.speech_data import COUNTS, PLAIN, RATE, assert_same, during, epoch_of, indices, recordings


@pytest.mark.parametrize("before", [1, 2])
@pytest.mark.parametrize("after", [1, 2, 3])
def test_resumed_epoch_gives_what_remains_at_every_step_and_with_any_number_of_ranks(
    prepared: Callable[..., LibriSpeech], before: int, after: int
) -> None:
    data = prepared("fit", max_batch_length=3.2, seed=4)
    whole = [epoch_of(data, 2, rank, before) for rank in range(before)]
    steps = len(whole[0])
    assert steps >= 3
    refused = 0
    for done in range(steps):
        seen = [index for part in whole for batch in part[:done] for index in batch]
        position = {"epoch": 2, "done": [[done, before]] if done else []}
        remaining = []
        try:
            for rank in range(after):
                data.load_state_dict(position)
                data.trainer = during("training", rank, after)
                remaining.append(indices(data.train_dataloader()))
        except InputError as error:
            assert "remain" in str(error)  # noqa: PT017
            assert COUNTS["train"] - len(seen) < 2 * after, "there are not enough for a batch of each rank"
            refused += 1
            continue
        assert len({len(part) for part in remaining}) == 1
        left = [index for part in remaining for batch in part for index in batch]
        assert sorted(seen + left) == list(range(COUNTS["train"]))
        if before == after:
            assert remaining == [part[done:] for part in whole]
    assert refused < steps - 1


def test_epoch_that_was_done_by_several_counts_of_ranks_is_resumed(
    prepared: Callable[..., LibriSpeech],
) -> None:
    data = prepared("fit", max_batch_length=3.2)
    first = [epoch_of(data, 1, rank, 2)[:1] for rank in range(2)]
    data.trainer = during("training")
    data.load_state_dict({"epoch": 1, "done": [[1, 2]]})
    second = indices(data.train_dataloader())[:1]
    remaining = []
    for rank in range(3):
        data.trainer = during("training", rank, 3)
        data.load_state_dict({"epoch": 1, "done": [[1, 2], [1, 1]]})
        remaining.append(indices(data.train_dataloader()))
    everything = [index for part in [*first, second, *remaining] for batch in part for index in batch]
    assert sorted(everything) == list(range(COUNTS["train"]))


class BatchRecorder(Recorder):
    """Keeps what comes in each step."""

    def __init__(self) -> None:
        super().__init__()
        self.training_batches: list[dict[str, Any]] = []
        self.validation_batches: list[dict[str, Any]] = []
        self.names: list[list[str]] = []

    @override
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        self.training_batches.append(batch)
        self.names.append(self.trainer.datamodule.sample_names(batch))  # type: ignore[attr-defined]
        return super().training_step(batch, batch_idx)

    @override
    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.validation_batches.append(batch)


def fit(data: LibriSpeech, folder: Path, epochs: int) -> BatchRecorder:
    recorder = BatchRecorder()
    bare_trainer(folder, max_epochs=epochs, num_sanity_val_steps=0).fit(recorder, datamodule=data)
    return recorder


def test_position_after_each_step_of_a_run_says_what_is_left(
    make: Callable[..., LibriSpeech], prepared: Callable[..., LibriSpeech], tmp_path: Path
) -> None:
    recorder = fit(make(seed=5), tmp_path, epochs=2)
    steps = len(recorder.training_batches) // 2
    given = indices(recorder.training_batches)
    assert steps > 2
    assert sorted(itertools.chain(*given[:steps])) == sorted(itertools.chain(*given[steps:])) == list(range(14))
    assert recorder.positions == [
        {"epoch": k // steps, "done": [[k % steps, 1]] if k % steps else []} for k in range(1, 2 * steps + 1)
    ]
    resumed = prepared("fit", seed=5)
    for k, position in enumerate(recorder.positions[:-1], 1):
        resumed.load_state_dict(position)
        assert resumed.state_dict() == position
        assert indices(resumed.train_dataloader()) == given[k : k // steps * steps + steps]


def test_run_augments_training_batches_alone_and_the_same_whenever_it_is_repeated(
    make: Callable[..., LibriSpeech], prepared: Callable[..., LibriSpeech], librispeech: Path, tmp_path: Path
) -> None:
    first, second = (fit(make(seed=5), tmp_path, epochs=2) for _ in range(2))
    assert_same(first.training_batches, second.training_batches)
    files = recordings(librispeech, "train")
    speeds = set()
    for batch, names in zip(first.training_batches, first.names, strict=True):
        features, frames = batch["features"]
        assert names == [str(files[index]) for index in batch["index"].tolist()]
        samples = torch.tensor([soundfile.info(name).frames for name in names])
        (speed,) = (
            speed
            for speed in (0.9, 1.0, 1.1)
            if torch.equal(frames, (torch.ceil((samples / speed).round(decimals=2)).long() - 512) // 160 + 1)
        )
        speeds.add(speed)
        for row, count in zip(features, frames.tolist(), strict=True):
            assert (row[count:] == 0).all()
    assert len(speeds) > 1
    masked = [(batch["features"].data[0, : batch["features"].lengths[0]] == 0) for batch in first.training_batches]
    assert any(rows.all(1).any() for rows in masked)
    assert any(rows.all(0).any() for rows in masked)
    plain = prepared("validate")
    wanted = [plain.transform(batch, training=False) for batch in plain.val_dataloader()]
    by_index = functools.partial(sorted, key=lambda batch: batch["index"].tolist())
    assert_same(by_index(first.validation_batches), by_index([*wanted, *wanted]))


def test_training_batches_are_not_changed_when_augmentation_is_off(prepared: Callable[..., LibriSpeech]) -> None:
    data = prepared("fit", **PLAIN)
    for batch in data.train_dataloader():
        assert_same(data.transform(batch, training=True), data.transform(batch, training=False))


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("speed", [0.5, 1.1, 2.0])
def test_shortest_recording_has_features_at_any_speed(
    prepared: Callable[..., LibriSpeech], copy: Path, speed: float, alone: bool
) -> None:
    file = recordings(copy, "train")[0]
    options = PLAIN | {"speeds": [speed], "buckets": 1, "max_batch_ex": 1 if alone else None, "root": str(copy)}
    samples = np.random.default_rng(0).uniform(-0.1, 0.1, 1024)
    soundfile.write(file, samples[:-1], RATE)
    with pytest.raises(InputError, match="1 of 14 recordings") as error:
        prepared("fit", **options)
    assert str(file) in str(error.value)
    soundfile.write(file, samples, RATE)
    data = prepared("fit", **options)
    for batch in data.train_dataloader():
        features, frames = data.transform(batch, training=True)["features"]
        assert frames.min() > 0
        assert features.isfinite().all()
