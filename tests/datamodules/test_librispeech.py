"""Recordings become the batches that are described, and whatever is wrong with one, or with a setting, is named."""

import functools
import hashlib
import inspect
import itertools
import math
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import torchaudio.datasets.librispeech as peer
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from typing_extensions import override

from datamodules import librispeech as published
from datamodules.librispeech import LibriSpeech
from datamodules.sources.archive import Archive
from datamodules.speech import corpus as speech_corpus
from datamodules.speech.log_mel import LogMel
from datamodules.speech.tokenizers import ALPHABET, BLANK, BOUNDARY
from datamodules.synthetic import librispeech as synthetic_set
from sextant.errors import InputError
from tests.datamodules.faults import cut_in_half, listing, snapshot
from tests.datamodules.recorder import Recorder, bare_trainer

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
    "time_mask_share": 0.3,
    "feature_mask_width": 5,
}
#: Settings under which training batches are not changed at random.
PLAIN: dict[str, Any] = {"speeds": [], "time_masks": 0, "feature_masks": 0}


@pytest.fixture(scope="module")
def make(librispeech: Path, cache: Path) -> Callable[..., LibriSpeech]:
    """Make the DataModule on the small data set, with other settings where they are given."""
    return lambda **options: LibriSpeech(**({"root": str(librispeech), "cache": str(cache)} | SMALL | options))


@pytest.fixture(scope="module")
def prepared(make: Callable[..., LibriSpeech]) -> Callable[..., LibriSpeech]:
    """The same, after what a Trainer calls first."""

    def prepare(stage: str, **options: Any) -> LibriSpeech:
        data = make(**options)
        data.prepare_data()
        data.setup(stage)
        return data

    return prepare


@pytest.fixture
def copy(librispeech: Path, tmp_path: Path) -> Path:
    """A copy of the small data set, to be damaged."""
    return shutil.copytree(librispeech, tmp_path / "LibriSpeech")


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


# Batches


@pytest.mark.parametrize(("stage", "split"), [("fit", "train"), ("fit", "val"), ("validate", "val"), ("test", "test")])
def test_batches_have_the_fields_that_are_documented(
    prepared: Callable[..., LibriSpeech], librispeech: Path, stage: str, split: str
) -> None:
    data = prepared(stage)
    files, said = recordings(librispeech, split), transcripts(librispeech, split)
    batches = list(loader_of(data, split))
    assert len(batches) == len(loader_of(data, split)) > 1
    for batch in batches:
        batch = data.transform(batch, training=False)
        count = len(batch["index"])
        assert batch.keys() == {"features", "labels", "text", "id", "index", "frame_seconds"}
        assert batch["index"].dtype == torch.int64
        features, frames = batch["features"]
        labels, label_counts = batch["labels"]
        assert features.dtype == torch.float32
        assert features.shape == (count, frames.max(), FEATURES)
        assert labels.shape == (count, label_counts.max())
        assert frames.shape == label_counts.shape == (count,)
        assert labels.dtype == frames.dtype == label_counts.dtype == torch.int64
        assert batch["frame_seconds"] == 0.01
        for row, index in enumerate(batch["index"].tolist()):
            assert frames[row] == (soundfile.info(files[index]).frames - 512) // 160 + 1
            assert batch["id"][row] == files[index].stem
            assert batch["text"][row] == said[index]
            spelt = [data.vocabulary[label] for label in labels[row, : label_counts[row]]]
            assert "".join(spelt).replace(BOUNDARY, " ") == said[index]
            assert (labels[row, label_counts[row] :] == 0).all()
    assert sorted(index for batch in batches for index in batch["index"].tolist()) == list(range(COUNTS[split]))


def test_features_outside_of_training_are_those_of_the_recordings_alone(
    prepared: Callable[..., LibriSpeech], librispeech: Path
) -> None:
    data = prepared("validate")
    files = recordings(librispeech, "val")
    for batch in data.val_dataloader():
        features, frames = data.transform(batch, training=False)["features"]
        for row, index in enumerate(batch["index"].tolist()):
            audio = torch.from_numpy(soundfile.read(files[index], dtype="float32")[0])
            alone, count = LogMel(RATE, FEATURES)(audio[None], torch.tensor([len(audio)]))
            assert count[0] == frames[row]
            torch.testing.assert_close(features[row, : frames[row]], alone[0], rtol=1e-3, atol=1e-3)


def test_vocabulary_is_the_alphabet_in_every_stage(prepared: Callable[..., LibriSpeech]) -> None:
    for stage in ("fit", "validate", "test"):
        assert prepared(stage).vocabulary == [BLANK, BOUNDARY, "'", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    assert prepared("fit", alphabet="ZYXWVUTSRQPONMLKJIHGFEDCBA ").vocabulary[1:3] == ["Z", "Y"]


def test_pieces_are_those_of_the_training_transcripts_in_every_stage(
    prepared: Callable[..., LibriSpeech], librispeech: Path
) -> None:
    found = [prepared(stage, pieces=32) for stage in ("fit", "validate", "test")]
    assert len(found[0].vocabulary) == 33
    assert found[0].vocabulary == found[1].vocabulary == found[2].vocabulary
    said = transcripts(librispeech, "test")
    for batch in found[2].test_dataloader():
        labels, counts = batch["labels"]
        for row, index in enumerate(batch["index"].tolist()):
            spelt = "".join(found[2].vocabulary[label] for label in labels[row, : counts[row]])
            assert spelt.replace(BOUNDARY, " ").strip() == said[index]


def test_several_subsets_follow_each_other(prepared: Callable[..., LibriSpeech], librispeech: Path) -> None:
    data = prepared("test", test=["test-small", "dev-small"])
    named: dict[int, str] = {}
    data.trainer = during("testing")
    for batch in data.test_dataloader():
        named.update(zip(batch["index"].tolist(), data.sample_names(batch), strict=True))
    files = [*recordings(librispeech, "test"), *recordings(librispeech, "val")]
    assert [named[index] for index in range(10)] == [str(file) for file in files]


def test_workers_give_the_same_batches(prepared: Callable[..., LibriSpeech]) -> None:
    alone, others = (prepared("fit", num_workers=workers, seed=3) for workers in (0, 1))
    assert_same(list(others.train_dataloader()), list(alone.train_dataloader()))


def test_samples_are_named_by_their_files(prepared: Callable[..., LibriSpeech], librispeech: Path) -> None:
    fit = prepared("fit")
    for data, split, state in (
        (fit, "train", "training"),
        (fit, "val", "validating"),
        (fit, "val", "sanity_checking"),
        (prepared("validate"), "val", "validating"),
        (prepared("test"), "test", "testing"),
    ):
        loader = loader_of(data, split)
        data.trainer = during(state)
        files = recordings(librispeech, split)
        for batch in loader:
            assert data.sample_names(batch) == [str(files[index]) for index in batch["index"].tolist()]
        data.trainer = None


def test_units_are_seconds_of_audio_and_utterances(prepared: Callable[..., LibriSpeech]) -> None:
    data = prepared("fit")
    batches = list(data.train_dataloader())
    found = [data.units(data.transform(batch, training=False)) for batch in batches]
    assert [units["utterances"] for units in found] == [len(batch["index"]) for batch in batches]
    for batch, units in zip(batches, found, strict=True):
        # The last window of each utterance begins up to 42 ms before its end.
        seconds = batch["audio"].lengths.sum().item() / RATE
        assert seconds - 0.042 * len(batch["index"]) <= units["audio_seconds"] <= seconds
    assert next(iter(found[0])) == "audio_seconds", "the first one is shown"


# Order and budget


@settings(deadline=None, max_examples=60)
@given(
    budget=st.floats(2.6, 40),
    how=st.sampled_from(
        [
            {},
            {"padding": 0.0},
            {"padding": 0.5},
            {"buckets": 1},
            {"buckets": 3},
            {"buckets": [0.8, 1.3]},
        ]
    ),
    most=st.sampled_from([None, 1, 3]),
    ordering=st.sampled_from(["random", "ascending", "descending"]),
    speeds=st.sampled_from([[], [0.9, 1.0, 1.1], [0.95]]),
    ranks=st.integers(1, 4),
    epoch=st.integers(0, 3),
    seed=st.integers(0, 5),
)
def test_every_training_utterance_comes_once_an_epoch_and_the_budget_is_never_exceeded(
    prepared: Callable[..., LibriSpeech],
    librispeech: Path,
    budget: float,
    how: dict[str, Any],
    most: int | None,
    ordering: Any,
    speeds: list[float],
    ranks: int,
    epoch: int,
    seed: int,
) -> None:
    batching = {"max_batch_ex": most, "batch_ordering": ordering, "speeds": speeds, "seed": seed, **how}
    data = prepared("fit", max_batch_length=budget, **batching)
    try:
        shares = [epoch_of(data, epoch, rank, ranks) for rank in range(ranks)]
    except InputError as error:
        assert "too few for" in str(error)  # noqa: PT017
        assume(False)
    assert len({len(share) for share in shares}) == 1, "every rank has as many steps"
    batches = list(itertools.chain(*shares))
    assert sorted(itertools.chain(*batches)) == list(range(COUNTS["train"]))
    seconds = np.array([soundfile.info(file).frames for file in recordings(librispeech, "train")]) / RATE
    for batch in batches:
        assert len(batch) * max(seconds[batch]) / min(speeds, default=1.0) <= budget * (1 + 1e-9)
        assert len(batch) <= (most or COUNTS["train"])


def test_padded_audio_at_the_slowest_speed_is_within_the_budget(prepared: Callable[..., LibriSpeech]) -> None:
    data = prepared("fit", **PLAIN | {"speeds": [SLOWEST]})
    filled = []
    for batch in data.train_dataloader():
        features, frames = data.transform(batch, training=True)["features"]
        assert features.shape[0] * frames.max() * 0.01 <= BUDGET
        # The last window of each utterance begins up to 42 ms before its end.
        filled.append(features.shape[0] * (float(frames.max()) * 0.01 + 0.042))
    assert max(filled) > 0.8 * BUDGET, "the speed is part of what fills the budget"


def test_every_epoch_and_every_seed_has_an_order_of_its_own(prepared: Callable[..., LibriSpeech]) -> None:
    data, same, other = prepared("fit", seed=1), prepared("fit", seed=1), prepared("fit", seed=2)
    epochs = [epoch_of(data, epoch) for epoch in range(4)]
    assert len({str(epoch) for epoch in epochs}) == 4
    assert len({len(epoch) for epoch in epochs}) == 1
    assert [epoch_of(same, epoch) for epoch in range(4)] == epochs
    assert epoch_of(other, 0) != epochs[0]


@pytest.mark.parametrize(("stage", "split"), [("validate", "val"), ("test", "test")])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("budget", [3.0, 6.0, 100.0])
def test_evaluation_covers_a_split_once_with_any_number_of_ranks(
    prepared: Callable[..., LibriSpeech], librispeech: Path, stage: str, split: str, ranks: int, budget: float
) -> None:
    data = prepared(stage, max_batch_length=budget)
    shares = []
    for rank in range(ranks):
        data.trainer = during("validating", rank, ranks)
        shares.append([batch for batch in indices(loader_of(data, split)) if batch])
    assert len({len(share) for share in shares}) == 1
    batches = list(itertools.chain(*shares))
    assert sorted(itertools.chain(*batches)) == list(range(COUNTS[split]))
    seconds = np.array([soundfile.info(file).frames for file in recordings(librispeech, split)]) / RATE
    assert all(len(batch) == 1 or len(batch) * max(seconds[batch]) <= budget for batch in batches)


@pytest.mark.parametrize(("stage", "split", "ranks"), [("validate", "val", 3), ("test", "test", 2)])
def test_utterances_beyond_the_budget_are_evaluated_too(
    prepared: Callable[..., LibriSpeech], stage: str, split: str, ranks: int
) -> None:
    data = prepared(stage, max_batch_length=0.5)
    found = []
    for rank in range(ranks):
        data.trainer = during("validating", rank, ranks)
        found += indices(loader_of(data, split))
    assert sorted(found) == [[index] for index in range(COUNTS[split])]


def test_utterances_of_which_each_is_a_batch_are_evaluated_with_any_number_of_ranks_or_refused_with_advice_that_helps(
    prepared: Callable[..., LibriSpeech],
) -> None:
    data = prepared("test", max_batch_length=0.5)
    found = []
    for rank in range(3):
        data.trainer = during("testing", rank, world_size=3)
        try:
            found += indices(data.test_dataloader())
        except InputError as error:
            assert "lower max_batch_length" not in str(error)  # noqa: PT017
            return
    assert sorted(itertools.chain(*found)) == [0, 1, 2, 3]


def test_more_ranks_than_utterances_are_refused(prepared: Callable[..., LibriSpeech]) -> None:
    data = prepared("validate")
    data.trainer = during("validating", world_size=7)
    with pytest.raises(InputError, match="too few for 7 processes"):
        data.val_dataloader()


def test_most_utterances_in_a_batch_hold_in_evaluation_too(prepared: Callable[..., LibriSpeech]) -> None:
    assert all(len(batch) <= 2 for batch in indices(prepared("validate", max_batch_ex=2).val_dataloader()))


@pytest.mark.parametrize("too_long", ["drop", "warn", "alone"])
@pytest.mark.filterwarnings("ignore:.*longer than the budget")
def test_training_utterances_beyond_the_budget_are_treated_as_said(
    prepared: Callable[..., LibriSpeech], librispeech: Path, too_long: Any
) -> None:
    seconds = np.array([soundfile.info(file).frames for file in recordings(librispeech, "train")]) / RATE / SLOWEST
    budget = float(np.median(seconds))
    beyond = set(np.flatnonzero(seconds > budget).tolist())
    batches = epoch_of(prepared("fit", max_batch_length=budget, too_long=too_long), 0)
    found = sorted(itertools.chain(*batches))
    assert found == [index for index in range(COUNTS["train"]) if too_long != "drop" or index not in beyond]
    assert all(len(batch) == 1 for batch in batches if beyond & set(batch))


def test_training_utterances_beyond_the_budget_are_an_error_that_says_what_to_do(
    prepared: Callable[..., LibriSpeech],
) -> None:
    with pytest.raises(InputError, match="longer than the budget") as error:
        prepared("fit", max_batch_length=0.9).train_dataloader()
    assert "max_batch_length" in str(error.value)
    assert "too_long" in str(error.value)
    assert "data" in str(error.value)


# Resuming


@pytest.mark.parametrize("before", [1, 2])
@pytest.mark.parametrize("after", [1, 2, 3])
def test_resumed_epoch_gives_the_rest_at_every_step_and_with_any_number_of_ranks(
    prepared: Callable[..., LibriSpeech], before: int, after: int
) -> None:
    data = prepared("fit", max_batch_length=3.2, seed=4)
    whole = [epoch_of(data, 2, rank, before) for rank in range(before)]
    steps = len(whole[0])
    assert steps >= 3
    refused = 0
    for done in range(steps):
        seen = [index for share in whole for batch in share[:done] for index in batch]
        position = {"epoch": 2, "done": [[done, before]] if done else []}
        rest = []
        try:
            for rank in range(after):
                data.load_state_dict(position)
                data.trainer = during("training", rank, after)
                rest.append(indices(data.train_dataloader()))
        except InputError as error:
            assert "remain" in str(error)  # noqa: PT017
            assert COUNTS["train"] - len(seen) < 2 * after, "there are not enough for a batch of each rank"
            refused += 1
            continue
        assert len({len(share) for share in rest}) == 1
        left = [index for share in rest for batch in share for index in batch]
        assert sorted(seen + left) == list(range(COUNTS["train"]))
        if before == after:
            assert rest == [share[done:] for share in whole]
    assert refused < steps - 1


def test_epoch_that_was_done_by_several_numbers_of_ranks_is_gone_on_with(
    prepared: Callable[..., LibriSpeech],
) -> None:
    data = prepared("fit", max_batch_length=3.2)
    first = [epoch_of(data, 1, rank, 2)[:1] for rank in range(2)]
    data.trainer = during("training")
    data.load_state_dict({"epoch": 1, "done": [[1, 2]]})
    second = indices(data.train_dataloader())[:1]
    rest = []
    for rank in range(3):
        data.trainer = during("training", rank, 3)
        data.load_state_dict({"epoch": 1, "done": [[1, 2], [1, 1]]})
        rest.append(indices(data.train_dataloader()))
    everything = [index for share in [*first, second, *rest] for batch in share for index in batch]
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


# What is wrong with the data


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("character", ["h", "\xc9", "-", "7", "\u0416", "\u2019", "A\u0301"])
def test_transcript_with_an_unknown_character_is_named_with_the_recording_and_the_character(
    prepared: Callable[..., LibriSpeech], copy: Path, split: str, character: str
) -> None:
    file = next((copy / SMALL[split][0]).glob("*/*/*.trans.txt"))
    first, *others = file.read_text().splitlines(keepends=True)
    name = first.split()[0]
    file.write_text(f"{name} THE {character}WORD\n{''.join(others)}", encoding="utf-8")
    with pytest.raises(InputError, match=r"--data\.alphabet") as error:
        prepared("test" if split == "test" else "fit", root=str(copy))
    assert str(error.value).startswith(f"{file.with_name(name)}.flac: ")
    assert repr(character[-1]) in str(error.value)
    assert f"THE {character}WORD" in str(error.value)


def test_alphabet_that_has_the_character_spells_it(prepared: Callable[..., LibriSpeech], copy: Path) -> None:
    for subset in ("train", "val"):
        for file in (copy / SMALL[subset][0]).glob("*/*/*.trans.txt"):
            ids = [line.split()[0] for line in file.read_text().splitlines()]
            file.write_text("".join(f"{name} \u0436\u0443\u043a \u0436\n" for name in ids), encoding="utf-8")
    data = prepared("fit", root=str(copy), alphabet="\u0436\u0443\u043a ")
    batch = next(iter(data.train_dataloader()))
    assert batch["text"][0] == "\u0436\u0443\u043a \u0436"
    assert batch["labels"].data[0].tolist() == [1, 2, 3, 4, 1]


def test_transcript_that_pieces_do_not_spell_is_named_and_the_advice_helps(
    prepared: Callable[..., LibriSpeech], copy: Path
) -> None:
    file = next((copy / "dev-small").glob("*/*/*.trans.txt"))
    file.write_text("".join(f"{line.split()[0]} CAF\xc9\n" for line in file.read_text().splitlines()), encoding="utf-8")
    with pytest.raises(InputError, match=r"--data\.alphabet") as error:
        prepared("fit", root=str(copy), pieces=40)
    assert str(error.value).startswith(str(file.parent))
    assert "'\xc9'" in str(error.value)
    data = prepared("fit", root=str(copy), pieces=40, alphabet=f"{ALPHABET}\xc9")
    assert len(data.vocabulary) == 41
    spelt = {
        text: "".join(data.vocabulary[label] for label in row[:count])
        for batch in data.val_dataloader()
        for text, row, count in zip(batch["text"], *batch["labels"], strict=True)
    }
    assert spelt["CAF\xc9"] == f"{BOUNDARY}CAF\xc9"


def test_recordings_that_cannot_be_used_stop_or_are_left_out_as_said(
    prepared: Callable[..., LibriSpeech], copy: Path
) -> None:
    cut_in_half(recordings(copy, "train")[3])
    recordings(copy, "train")[8].write_bytes(b"")
    with pytest.raises(InputError, match="2 of 14 recordings") as error:
        prepared("fit", root=str(copy))
    assert str(recordings(copy, "train")[3]) in str(error.value)
    with pytest.warns(UserWarning, match="2 of 14 recordings"):
        data = prepared("fit", root=str(copy), invalid_samples="skip")
    names = [name for batch in data.train_dataloader() for name in batch["id"]]
    assert len(names) == 12
    left = [file for k, file in enumerate(recordings(copy, "train")) if k not in (3, 8)]
    assert sorted(names) == sorted(file.stem for file in left)


def make_longer(file: Path) -> None:
    soundfile.write(file, np.zeros(50_000), RATE)


def make_stereo(file: Path) -> None:
    soundfile.write(file, np.zeros((soundfile.info(file).frames, 2)), RATE)


@pytest.mark.parametrize("change", [make_longer, make_stereo, cut_in_half, Path.unlink])
def test_recording_that_changed_after_it_was_listed_is_named(
    prepared: Callable[..., LibriSpeech], copy: Path, change: Callable[[Path], object]
) -> None:
    data = prepared("fit", root=str(copy))
    file = recordings(copy, "train")[5]
    change(file)
    with pytest.raises(InputError, match="has changed since it was listed") as error:
        list(data.train_dataloader())
    assert str(error.value).startswith(f"{file}: ")


def test_recordings_at_another_rate_are_read_when_it_is_said(prepared: Callable[..., LibriSpeech], copy: Path) -> None:
    for file in (copy / "dev-small").glob("*/*/*.flac"):
        samples, _ = soundfile.read(file)
        soundfile.write(file, samples[::2], 8000)
    with pytest.raises(InputError, match=r"6 of 6(?s:.*)data\.sample_rate"):
        prepared("validate", root=str(copy))
    data = prepared("validate", root=str(copy), sample_rate=8000)
    batch = next(iter(data.val_dataloader()))
    features, frames = data.transform(batch, training=False)["features"]
    assert frames.tolist() == ((batch["audio"].lengths - 256) // 80 + 1).tolist()
    assert features.shape == (len(frames), frames.max(), FEATURES)
    assert data._seconds("val").sum() == pytest.approx(
        sum(soundfile.info(file).duration for file in recordings(copy, "val"))
    )


def test_only_the_subsets_that_a_stage_needs_are_read(prepared: Callable[..., LibriSpeech], copy: Path) -> None:
    needed = {"fit": {"train", "val"}, "validate": {"val"}, "test": {"test"}}
    for stage, splits in needed.items():
        nothing = {split: ["missing"] for split in COUNTS if split not in splits}
        prepared(stage, root=str(copy), **nothing)
        for split in splits:
            with pytest.raises(InputError, match=str(copy / "missing")):
                prepared(stage, root=str(copy), **{split: ["missing"]})


@pytest.mark.parametrize(("stage", "split"), [("fit", "train"), ("fit", "val"), ("test", "test")])
def test_split_without_subsets_is_an_input_error_that_names_its_setting(
    prepared: Callable[..., LibriSpeech], stage: str, split: str
) -> None:
    with pytest.raises(InputError, match=rf"data\.{split} names no subset"):
        prepared(stage, **{split: []})


def test_nothing_in_the_folder_of_the_recordings_is_written(prepared: Callable[..., LibriSpeech], copy: Path) -> None:
    before = snapshot(copy.parent)
    for stage in ("fit", "validate", "test"):
        prepared(stage, root=str(copy))
    assert snapshot(copy.parent) == before


def test_second_setup_decodes_nothing(
    prepared: Callable[..., LibriSpeech], copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared("fit", root=str(copy))

    def refuse(*args: object) -> None:
        raise AssertionError("a recording was decoded again")

    monkeypatch.setattr(speech_corpus, "read_audio", refuse)
    prepared("fit", root=str(copy))
    with pytest.raises(AssertionError):
        prepared("test", root=str(copy))


# Settings


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("sample_rate", 0), ("sample_rate", -16000), ("num_features", 0), ("num_workers", -1)],
        *[("longest_segment", 0.0), ("longest_segment", math.nan), ("max_batch_length", 0.0)],
        *[("max_batch_length", -1.0), ("max_batch_length", math.nan), ("speeds", [0.0]), ("speeds", [1.0, -0.9])],
        *[("speeds", [math.nan]), ("pieces", -1), ("time_masks", -1), ("feature_masks", -1)],
        *[("time_mask_width", 0), ("feature_mask_width", 0), ("time_mask_share", 0.0), ("time_mask_share", 1.1)],
        *[("time_mask_share", math.nan), ("alphabet", ""), ("alphabet", "ABA"), ("pieces", 3), ("pieces", 10_000)],
    ],
)
def test_setting_that_makes_no_sense_is_an_input_error_that_names_it(
    prepared: Callable[..., LibriSpeech], key: str, value: Any
) -> None:
    with pytest.raises(InputError, match=rf"data\.{key} is ") as error:
        prepared("fit", **{key: value})
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "options",
    [
        *[{"max_batch_ex": 0}, {"padding": 1.0}, {"padding": -0.1}, {"buckets": 0}, {"buckets": []}],
        *[{"buckets": [2.0, 1.0]}, {"quadratic": 0.0}, {"quadratic": -1.0}],
        *[{"padding": 0.1, "buckets": 2}, {"padding": 0.1, "buckets": [1.0]}],
        *[{"batch_ordering": "sorted"}, {"max_batch_length": math.inf}],
    ],
)
def test_batches_that_make_no_sense_are_an_input_error_that_names_the_settings(
    prepared: Callable[..., LibriSpeech], options: dict[str, Any]
) -> None:
    with pytest.raises(InputError) as error:
        prepared("fit", **options).train_dataloader()
    assert all(key in str(error.value) for key in options)
    assert "data" in str(error.value)


@pytest.mark.parametrize(
    ("key", "value"), [("sample_rate", 1), ("sample_rate", 40), ("speeds", [math.inf]), ("speeds", [1e-9])]
)
def test_setting_that_is_far_off_is_an_input_error_that_names_it(
    make: Callable[..., LibriSpeech], key: str, value: Any
) -> None:
    with pytest.raises(InputError, match=rf"data\.{key} is "):
        make(**{key: value})


def test_segments_without_a_limit_are_refused_or_whole_files(
    prepared: Callable[..., LibriSpeech], librispeech: Path
) -> None:
    try:
        data = prepared("predict", longest_segment=math.inf, audio=str(librispeech / "test-small"))
    except InputError as error:
        assert "data.longest_segment" in str(error)  # noqa: PT017
        return
    assert sorted(itertools.chain(*indices(data.predict_dataloader()))) == [0, 1, 2, 3]


def test_settings_that_may_change_are_settings() -> None:
    names = set(inspect.signature(LibriSpeech).parameters)
    assert LibriSpeech.free_settings <= names
    learned_from = {
        "synthetic",
        "train",
        "sample_rate",
        "num_features",
        "alphabet",
        "pieces",
        "max_batch_length",
        "seed",
    }
    learned_from |= {"max_batch_ex", "padding", "buckets", "quadratic", "batch_ordering"}
    learned_from |= {"too_long", "speeds", "time_masks", "time_mask_width", "time_mask_share", "feature_masks"}
    assert learned_from <= names
    assert not learned_from & LibriSpeech.free_settings


# Recognizing


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of three kinds: short at 16 kHz, stereo at 44.1 kHz, and long at 8 kHz."""
    folder = tmp_path_factory.mktemp("talks")
    draw = np.random.default_rng(0)
    soundfile.write(folder / "a.wav", draw.uniform(-0.3, 0.3, 8000), RATE)
    soundfile.write(folder / "b.ogg", draw.uniform(-0.3, 0.3, (44100, 2)), 44100)
    (folder / "more").mkdir()
    soundfile.write(folder / "more" / "c.mp3", draw.uniform(-0.3, 0.3, 40000), 8000)
    return folder


def test_predict_needs_audio_alone(
    prepared: Callable[..., LibriSpeech], talks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    missing = {"root": "nowhere", "cache": str(tmp_path / "cache"), "train": [], "val": ["none"], "pieces": 100}
    data = prepared("predict", audio=str(talks), **missing)
    assert data.vocabulary == []
    assert sum(len(batch) for batch in indices(data.predict_dataloader())) == 3
    assert listing(tmp_path) == []


def test_audio_to_recognize_comes_once_in_segments_with_their_places(
    prepared: Callable[..., LibriSpeech], talks: Path
) -> None:
    data = prepared("predict", audio=str(talks), longest_segment=2.0)
    loader = data.predict_dataloader()
    data.trainer = during("predicting")
    found = []
    for batch in loader:
        names = data.sample_names(batch)
        batch = data.transform(batch, training=False)
        assert batch.keys() == {"features", "start", "end", "index", "frame_seconds"}
        assert batch["start"].dtype == batch["end"].dtype == torch.float64
        features, frames = batch["features"]
        assert features.shape == (len(names), frames.max(), FEATURES)
        assert features.isfinite().all()
        rows = zip(batch["index"].tolist(), names, batch["start"].tolist(), batch["end"].tolist(), frames, strict=True)
        for index, name, start, end, count in rows:
            found.append((index, name, start, end))
            assert count == pytest.approx((end - start) * 100 - 3.2, abs=1.1)
    found.sort()
    assert [index for index, *_ in found] == list(range(len(found)))
    for file, seconds in (("a.wav", 0.5), ("b.ogg", 1.0), ("more/c.mp3", 5.0)):
        places = [(start, end) for _, name, start, end in found if name == str(talks / file)]
        edges = [0.0, *(end for _, end in places)]
        assert places == list(itertools.pairwise(edges))
        assert edges[-1] == seconds
        assert all(end - start <= 2 for start, end in places)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_audio_to_recognize_is_dealt_to_the_ranks_once(
    prepared: Callable[..., LibriSpeech], talks: Path, ranks: int
) -> None:
    data = prepared("predict", audio=str(talks), max_batch_length=30.0)
    found = []
    for rank in range(ranks):
        data.trainer = during("predicting", rank, ranks)
        found += indices(data.predict_dataloader())
    assert sorted(itertools.chain(*found)) == [0, 1, 2]


def test_single_file_can_be_recognized(prepared: Callable[..., LibriSpeech], talks: Path) -> None:
    data = prepared("predict", audio=str(talks / "b.ogg"))
    assert indices(data.predict_dataloader()) == [[0]]


def test_no_audio_to_recognize_is_an_input_error_that_says_how_to_give_some(
    prepared: Callable[..., LibriSpeech], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"--data\.audio="):
        prepared("predict")
    with pytest.raises(InputError, match=r"no such file or folder \(data\.audio\)") as error:
        prepared("predict", audio=str(tmp_path / "talk.wav"))
    assert str(error.value).startswith(str(tmp_path / "talk.wav"))


def test_file_that_cannot_be_recognized_is_named(prepared: Callable[..., LibriSpeech], tmp_path: Path) -> None:
    (tmp_path / "talk.flac").write_text("no audio")
    soundfile.write(tmp_path / "click.wav", np.zeros(100), RATE)
    with pytest.raises(InputError, match="2 of 2 files") as error:
        prepared("predict", audio=str(tmp_path))
    assert str(tmp_path / "talk.flac") in str(error.value)
    assert str(tmp_path / "click.wav") in str(error.value)


# The synthetic set


def test_sample_set_is_made_in_the_cache_once_and_only_if_it_is_asked_for(
    make: Callable[..., LibriSpeech],
    prepared: Callable[..., LibriSpeech],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(synthetic_set, "make", functools.partial(synthetic_set.make, train=8, dev=4, test=4))
    cache = tmp_path / "cache"
    options = {"cache": str(cache), "root": "nowhere", "max_batch_length": 30.0}
    make(**options).prepare_data()
    make(**options, synthetic=True)
    assert not cache.exists()
    data = prepared("fit", **options, synthetic=True, train=["other"], download=True)
    assert data.synthetic
    assert data.root == cache / synthetic_set.FOLDER
    assert sorted(itertools.chain(*indices(data.train_dataloader()))) == list(range(8))
    assert sorted(itertools.chain(*indices(data.val_dataloader()))) == list(range(4))
    before = snapshot(data.root)
    data = prepared("test", **options, synthetic=True)
    assert sorted(itertools.chain(*indices(data.test_dataloader()))) == list(range(4))
    assert snapshot(data.root) == before


# Downloading


@pytest.fixture
def site(
    librispeech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[dict[str, bytes], list[str]]]:
    """The archives of a site on this machine by their names, which are pinned, and what it was asked for."""
    files: dict[str, bytes] = {}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path.strip("/"))
            content = files.get(asked[-1])
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        pinned = {}
        for subset in ("dev-small", "test-small"):
            archive = tmp_path / f"{subset}.tar.gz"
            with tarfile.open(archive, "w:gz") as tar:
                tar.add(librispeech / subset, f"LibriSpeech/{subset}")
                tar.add(librispeech / "test-small" / "0" / "1" / "0-1.trans.txt", "LibriSpeech/README.TXT")
            files[archive.name] = archive.read_bytes()
            url = f"http://127.0.0.1:{http.server_port}/{archive.name}"
            hashes = {"md5": hashlib.md5(files[archive.name]).hexdigest()}
            if subset == "dev-small":
                hashes = {"sha256": hashlib.sha256(files[archive.name]).hexdigest()}
            pinned[subset] = Archive(url, len(files[archive.name]), **hashes)
            archive.unlink()
        monkeypatch.setattr(published, "ARCHIVES", pinned)
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield files, asked
        http.shutdown()
        thread.join()


Site = tuple[dict[str, bytes], list[str]]


def test_published_subsets_are_downloaded_and_extracted_once(
    prepared: Callable[..., LibriSpeech], librispeech: Path, tmp_path: Path, site: Site
) -> None:
    root = tmp_path / "data" / "LibriSpeech"
    options = {"root": str(root), "download": True, "train": ["my-own"]}
    data = prepared("validate", **options)
    assert sorted(site[1]) == ["dev-small.tar.gz", "test-small.tar.gz"]
    assert listing(root) == [name for name in listing(librispeech) if not name.startswith("train-small")]
    for file in recordings(librispeech, "val"):
        assert (root / file.relative_to(librispeech)).read_bytes() == file.read_bytes()
    assert len(list(itertools.chain(*indices(data.val_dataloader())))) == COUNTS["val"]
    prepared("test", **options)
    assert len(site[1]) == 2


def test_subsets_that_are_there_are_not_downloaded_and_none_unless_it_is_asked_for(
    make: Callable[..., LibriSpeech], copy: Path, tmp_path: Path, site: Site
) -> None:
    before = snapshot(tmp_path)
    make(root=str(copy), download=True).prepare_data()
    make(root=str(tmp_path / "elsewhere")).prepare_data()
    make(root=str(tmp_path / "elsewhere"), download=True, train=["a"], val=["b"], test=["c"]).prepare_data()
    assert site[1] == []
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("damage", [False, True])
def test_archive_that_lies_beside_the_root_is_used_if_it_is_whole(
    make: Callable[..., LibriSpeech], tmp_path: Path, site: Site, damage: bool
) -> None:
    files, asked = site
    archive = tmp_path / "data" / "test-small.tar.gz"
    archive.parent.mkdir()
    archive.write_bytes(files[archive.name])
    if damage:
        content = bytearray(files[archive.name])
        content[len(content) // 2] ^= 1
        archive.write_bytes(content)
    root = tmp_path / "data" / "LibriSpeech"
    make(root=str(root), download=True, val=["test-small"]).prepare_data()
    assert asked == ["test-small.tar.gz"] * damage
    assert len(recordings(root, "test")) == COUNTS["test"]
    assert archive.read_bytes() == files[archive.name]


@pytest.mark.parametrize("subset", ["dev-small", "test-small"])
@pytest.mark.parametrize("fault", ["cut", "changed", "missing"])
def test_download_that_is_damaged_is_named_and_nothing_of_it_is_kept(
    make: Callable[..., LibriSpeech], tmp_path: Path, site: Site, subset: str, fault: str
) -> None:
    files, _ = site
    name = f"{subset}.tar.gz"
    whole = files[name]
    damaged = {"cut": whole[: len(whole) // 2], "changed": whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]}
    files.pop(name)
    if fault in damaged:
        files[name] = damaged[fault]
    data = make(root=str(tmp_path / "data" / "LibriSpeech"), download=True, val=[subset], test=[subset])
    with pytest.raises(InputError) as error:
        data.prepare_data()
    assert str(tmp_path / "data" / name) in str(error.value)
    assert listing(tmp_path / "data") == []
    files[name] = whole
    data.prepare_data()
    assert listing(tmp_path / "data" / "LibriSpeech")[0] == subset


def test_archives_are_pinned_by_size_and_hash_as_others_have_them() -> None:
    names = {"train-clean-5", "dev-clean-2", "train-clean-100", "train-clean-360", "train-other-500"}
    names |= {"dev-clean", "dev-other", "test-clean", "test-other"}
    assert published.ARCHIVES.keys() == names
    for name, archive in published.ARCHIVES.items():
        assert archive.url.startswith("https://www.openslr.org/resources/")
        assert archive.url.endswith(f"/{name}.tar.gz")
        assert archive.size > 10**8
        if archive.sha256 is None:
            assert len(bytes.fromhex(archive.md5 or "")) == 16
        else:
            assert archive.sha256 == peer._CHECKSUMS[archive.url.replace("https", "http")]


def test_default_subsets_are_published_ones() -> None:
    data = LibriSpeech()
    assert {name for names in data.subsets.values() for name in names} <= published.ARCHIVES.keys()
