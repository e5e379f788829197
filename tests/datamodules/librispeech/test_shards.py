"""Runs train on shards as on folders, and go on where they stopped."""

import itertools
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter
from typing_extensions import override

from datamodules.librispeech import LibriSpeech
from sextant.errors import InputError
from sextant.resume.partial_epoch import PartialEpoch
from tests.datamodules.recorder import Recorder, bare_trainer
from tests.datamodules.speech.shard_files import COUNT, FLAC, GOOD, RATE, borders, pack, pattern, read, recordings, said
from tests.datamodules.speech_data import librispeech as small_librispeech
from tests.recording import read_batches
from train import main as train


@pytest.fixture(scope="module")
def make(shards: Path, librispeech: Path, cache: Path) -> Callable[..., LibriSpeech]:
    """Make the DataModule on the small shards, with other settings where they are given."""
    given: dict[str, Any] = {
        "root": str(librispeech),
        "cache": str(cache),
        "val": ["dev-small"],
        "shards": pattern(shards),
        "shard_buffer": 8,
        "num_features": 16,
        "max_batch_length": 6.0,
        "seed": 3,
    }
    return lambda **options: small_librispeech(**given | options)


@pytest.fixture(scope="module")
def prepared(make: Callable[..., LibriSpeech]) -> Callable[..., LibriSpeech]:
    """The same, ready for its training loader."""

    def prepare(position: dict[str, Any] | None = None, **options: Any) -> LibriSpeech:
        data = make(**options)
        if position is not None:
            data.load_state_dict(position)
        data.setup("fit")
        return data

    return prepare


def indices(data: LibriSpeech) -> list[list[int]]:
    loader = data.train_dataloader()
    try:
        return [batch["index"].tolist() for batch in loader]
    finally:
        if isinstance(loader._iterator, _MultiProcessingDataLoaderIter):
            loader._iterator._shutdown_workers()  # the garbage collector takes ten seconds for it after an error


def test_batches_hold_each_utterance_once_with_audio_and_labels(
    prepared: Callable[..., LibriSpeech], librispeech: Path
) -> None:
    data = prepared()
    with pytest.raises(TypeError):
        len(data.train_dataloader())
    batches = list(data.train_dataloader())
    transcripts, files = said(librispeech), recordings(librispeech)
    assert sorted(name for batch in batches for name in batch["id"]) == sorted(transcripts)
    for batch in batches:
        audio, lengths = batch["audio"]
        labels, label_lengths = batch["labels"]
        assert audio.numel() / RATE / data.augmentation.slowest <= 6.0
        for i, name in enumerate(batch["id"]):
            expected, _ = soundfile.read(files[name], dtype="float32")
            np.testing.assert_array_equal(audio[i, : lengths[i]].numpy(), expected)
            assert not audio[i, lengths[i] :].any()
            spelled = "".join(data.vocabulary[label] for label in labels[i, : label_lengths[i]].tolist())
            assert spelled.replace("\u2581", " ") == batch["text"][i] == transcripts[name]
    assert len(data.val_dataloader()) >= 1


@pytest.mark.parametrize("num_workers", [0, 2])
def test_loader_begins_at_the_position_that_was_loaded(prepared: Callable[..., LibriSpeech], num_workers: int) -> None:
    whole = {epoch: indices(prepared({"epoch": epoch, "done": []})) for epoch in (2, 3)}
    assert len(whole[2]) >= 3
    assert whole[2] != whole[3]
    data = prepared({"epoch": 2, "done": [[1, 1]]}, num_workers=num_workers)
    loader: Any = data.train_dataloader()
    assert [batch["index"].tolist() for batch in loader] == whole[2][1:]
    loader.sampler.set_epoch(3)  # as Lightning does, also where workers stay
    assert [batch["index"].tolist() for batch in loader] == whole[3]


def test_parts_of_two_ranks_are_equally_long_and_hold_each_utterance_once(
    prepared: Callable[..., LibriSpeech],
) -> None:
    data = prepared(max_batch_length=4.0)
    everything = sorted(itertools.chain(*indices(data)))
    assert len(everything) == COUNT
    parts = []
    for rank in (0, 1):
        data.trainer = on_rank(rank, 2)
        parts.append(indices(data))
    assert len(parts[0]) == len(parts[1]) > 1
    assert sorted(itertools.chain(*parts[0], *parts[1])) == everything
    # A step of two ranks is done; one goes on.
    kept = [*parts[0][0], *parts[1][0]]
    alone = prepared({"epoch": 0, "done": [[1, 2]]}, max_batch_length=4.0)
    assert sorted(kept + list(itertools.chain(*indices(alone)))) == everything


def on_rank(rank: int, world_size: int) -> Any:
    """A Trainer, as far as a loader asks it."""
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    return SimpleNamespace(global_rank=rank, world_size=world_size, strategy=strategy)


def test_subwords_come_from_the_transcripts_in_the_shards(prepared: Callable[..., LibriSpeech], tmp_path: Path) -> None:
    data = prepared(subwords=40, cache=str(tmp_path), train=["nowhere"])
    assert len(data.vocabulary) == 41
    assert sorted(itertools.chain(*indices(data))) == sorted(itertools.chain(*indices(prepared())))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shard_buffer": 0}, r"data\.batching\.shard_buffer is 0; it must be 1 or more"),
        ({"buckets": 3}, r"data\.batching\.buckets is 3; it does not go with data\.subsets\.shards"),
        (
            {"buckets": [3.0]},
            r"data\.batching\.buckets is \[3\.0\]; it does not go with data\.subsets\.shards",
        ),
        (
            {"batch_ordering": "ascending"},
            r"data\.batching\.batch_ordering is ascending; it does not go with data\.subsets",
        ),
    ],
)
def test_settings_that_do_not_go_with_shards_are_refused(
    make: Callable[..., LibriSpeech], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        make(**settings)


def test_wrong_settings_of_batches_are_named(prepared: Callable[..., LibriSpeech]) -> None:
    with pytest.raises(InputError, match=r"max_batch_ex is 0; .*\(Settings of data\.batching, in seconds at"):
        prepared(max_batch_ex=0).train_dataloader()
    with pytest.raises(InputError, match=r"\.flac: [\d.]+ long, longer than the budget of 0\.3"):
        indices(prepared(max_batch_length=0.3))
    with pytest.raises(InputError, match=r"lengths of utterances in shards .* take BatchLengthFinder out"):
        _ = prepared().batch_length_range


@pytest.mark.parametrize("num_workers", [0, 2])
def test_damage_in_a_shard_is_the_same_message_from_a_worker(
    prepared: Callable[..., LibriSpeech], shards: Path, tmp_path: Path, num_workers: int
) -> None:
    folder = shutil.copytree(shards, tmp_path / "shards")
    shard = folder / "train-small-000001.tar"
    os.truncate(shard, borders(shard)[4][0])
    with pytest.raises(
        InputError, match=rf"^{shard}: it is truncated or damaged at byte [\d,]+\. Get it again"
    ) as raised:
        indices(prepared(shards=pattern(folder), num_workers=num_workers))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_transcript_with_what_is_not_in_the_vocabulary_is_named(
    prepared: Callable[..., LibriSpeech], tmp_path: Path, num_workers: int
) -> None:
    shard = pack(tmp_path / "x.tar", [*GOOD.items(), ("b.flac", FLAC), ("b.txt", b"NO 7")])
    with pytest.raises(InputError, match=rf"^{shard}: b\.flac: its transcript has '7', which is not in the vocabulary"):
        indices(prepared(shards=str(shard), num_workers=num_workers))


class EpochRecorder(Recorder):
    """Keeps the epoch of each step beside its samples, and that of each validation."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, list[int]]] = []
        self.validated: list[int] = []

    @override
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        self.seen.append((self.trainer.current_epoch, batch["index"].tolist()))
        return super().training_step(batch, batch_idx)

    @override
    def on_validation_epoch_end(self) -> None:
        if not self.trainer.sanity_checking:
            self.validated.append(self.trainer.current_epoch)


#: A run, the folder of its checkpoints, and how its Trainer was made.
Whole = tuple[EpochRecorder, Path, dict[str, Any]]


class EveryCheckpoint(Callback):
    """Save where the project's own callbacks do: within an epoch, after a validation, at the end of an epoch.

    Args:
        folder: where to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @override
    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            trainer.save_checkpoint(self.folder / f"step-{trainer.global_step}.ckpt")

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            trainer.save_checkpoint(self.folder / f"validation-{trainer.global_step}.ckpt")

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.save_checkpoint(self.folder / f"epoch-{trainer.global_step}.ckpt")


def fit(data: LibriSpeech, folder: Path, checkpoint: Path | None = None, **options: Any) -> EpochRecorder:
    recorder = EpochRecorder()
    callbacks = [PartialEpoch(), *([] if checkpoint else [EveryCheckpoint(folder)])]
    trainer = bare_trainer(folder, callbacks=callbacks, **options)
    trainer.fit(recorder, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    return recorder


@pytest.fixture(
    scope="module", params=[{"max_epochs": 3}, {"max_epochs": 100, "max_steps": 11}], ids=["epochs", "steps"]
)
def whole(
    request: pytest.FixtureRequest, make: Callable[..., LibriSpeech], tmp_path_factory: pytest.TempPathFactory
) -> Whole:
    """An undisturbed run, its checkpoints, and how long it was to be."""
    folder = tmp_path_factory.mktemp("whole")
    return fit(make(), folder, **request.param), folder, request.param


def test_every_epoch_has_each_utterance_once_in_an_order_of_its_own(
    whole: Whole,
) -> None:
    recorder, _, _ = whole
    epochs = [[batch for of, batch in recorder.seen if of == epoch] for epoch in range(2)]
    for epoch in epochs:
        assert len({index for batch in epoch for index in batch}) == sum(map(len, epoch)) == COUNT
    assert epochs[0] != epochs[1]
    assert recorder.validated[:2] == [0, 1]


def test_position_after_each_batch_says_what_is_left_to_train_on(
    whole: Whole,
) -> None:
    recorder, folder, _ = whole
    for epoch in range(2):
        positions = [
            position for position, (of, _) in zip(recorder.positions, recorder.seen, strict=True) if of == epoch
        ]
        within = [{"epoch": epoch, "done": [[steps, 1]]} for steps in range(1, len(positions))]
        assert positions == [*within, {"epoch": epoch + 1, "done": []}]
    for checkpoint in folder.glob("*.ckpt"):
        kind, step = checkpoint.stem.split("-")
        saved = torch.load(checkpoint, weights_only=True)["LibriSpeech"]
        if kind != "epoch" or int(step) < len(recorder.seen):  # with max_steps the run may end within an epoch
            assert saved == recorder.positions[int(step) - 1], checkpoint


@pytest.mark.parametrize("num_workers", [0, 2])
def test_run_that_is_resumed_anywhere_is_the_undisturbed_one(
    whole: Whole,
    make: Callable[..., LibriSpeech],
    num_workers: int,
    tmp_path: Path,
) -> None:
    recorder, folder, options = whole
    checkpoints = sorted(folder.glob("*.ckpt"))
    assert {file.name.split("-")[0] for file in checkpoints} == {"step", "validation", "epoch"}
    if num_workers:  # one of each kind
        checkpoints = [next(file for file in checkpoints if file.name.startswith(kind)) for kind in ("e", "s", "v")]
    for checkpoint in checkpoints:
        kind, step = checkpoint.stem.split("-")
        resumed = fit(make(num_workers=num_workers), tmp_path, checkpoint, **options)
        assert resumed.seen == recorder.seen[int(step) :], checkpoint
        epoch, _ = recorder.seen[int(step) - 1]
        validations_done = epoch + (kind != "step")
        assert resumed.validated == recorder.validated[validations_done:], checkpoint
        assert resumed.positions == recorder.positions[int(step) :], checkpoint


@pytest.fixture(scope="module")
def run(
    shards: Path, small: Callable[[str], list[str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Any]]:
    """Run commands in one folder, one after the other, as a user does."""
    words = [*small("conformer_librispeech"), f"--data.subsets.shards={pattern(shards)}"]
    words += ["--data.subsets.train=[nowhere]", "--data.num_workers=0", "--trainer.log_every_n_steps=2"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("runs"))
        patch.setattr(sys, "argv", ["train.py"])
        yield lambda command, *more: train([command, *words, *more])


def test_schedule_over_the_run_needs_a_number_of_steps(run: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=r"WarmupCosine, which spans the run, .* Give --trainer\.max_steps"):
        run("fit")


def test_command_trains_validates_and_goes_on(run: Callable[..., Any], shards: Path) -> None:
    """Two epochs, and then two more, of which the schedule knows."""
    record = ("--trainer.callbacks+=tests.recording.RecordBatches", "--trainer.callbacks.folder=.")
    folder = Path(run("fit", "--trainer.max_steps=12", "--trainer.max_epochs=2", *record).trainer.log_dir)
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["LibriSpeech"] == {"epoch": 2, "done": []}
    cli = run(
        *("fit", "--trainer.max_steps=12", "--trainer.max_epochs=4", *record),
        *("--ckpt_path=last", "--settings_from=command"),
    )
    batches = read_batches(Path(), 0)
    train_epochs, val_epochs = (
        [
            [index for of, number, batch in batches if (of, number) == (split, epoch) for index in batch]
            for epoch in range(2)
        ]
        for split in ("train", "val")
    )
    everything = sorted(utterance.index for utterance in read(pattern(shards)))
    assert [sorted(epoch) for epoch in train_epochs] == [everything, everything]
    assert train_epochs[0] != train_epochs[1]
    assert [sorted(epoch) for epoch in val_epochs] == [list(range(6))] * 2
    assert cli.trainer.global_step == 12
    assert cli.model.lr_schedulers().total_steps == 12
    assert [split for split, _, _ in batches].count("train") == 12


def test_loss_that_is_no_number_names_the_files_in_the_shards(run: Callable[..., Any], shards: Path) -> None:
    with pytest.raises(InputError, match=r"The loss is nan at step \d") as raised:
        run("fit", "--trainer.max_steps=12", "--model.optimizer.lr=1e30", "--trainer.max_epochs=3")
    named = str(raised.value).split("The batch:\n  ")[1].split("\n  ")
    assert all(name.startswith(f"{shards}/train-small-00000") and name.endswith(".flac") for name in named)
