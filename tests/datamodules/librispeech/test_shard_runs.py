"""Runs train on shards as on folders, and are resumed where they stopped."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from datamodules.librispeech import LibriSpeech
from sextant.errors import InputError
from sextant.resume.partial_epoch import PartialEpoch
from tests.datamodules.recorder import Recorder, bare_trainer
from tests.datamodules.speech.shard_files import COUNT, pattern, read
from tests.recording import read_batches
from train import main as train


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
    request: pytest.FixtureRequest, make_sharded: Callable[..., LibriSpeech], tmp_path_factory: pytest.TempPathFactory
) -> Whole:
    """An undisturbed run, its checkpoints, and how long it was to be."""
    folder = tmp_path_factory.mktemp("whole")
    return fit(make_sharded(), folder, **request.param), folder, request.param


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


def assert_resumed(whole: Whole, data: LibriSpeech, checkpoint: Path, folder: Path) -> None:
    """A run that is resumed from a checkpoint does what the undisturbed one did from there on."""
    recorder, _, options = whole
    kind, step = checkpoint.stem.split("-")
    resumed = fit(data, folder, checkpoint, **options)
    assert resumed.seen == recorder.seen[int(step) :], checkpoint
    epoch, _ = recorder.seen[int(step) - 1]
    validations_done = epoch + (kind != "step")
    assert resumed.validated == recorder.validated[validations_done:], checkpoint
    assert resumed.positions == recorder.positions[int(step) :], checkpoint


@pytest.mark.parametrize("kind", ["step", "validation", "epoch"])
def test_run_that_is_resumed_is_the_undisturbed_one(
    whole: Whole, make_sharded: Callable[..., LibriSpeech], kind: str, tmp_path: Path
) -> None:
    checkpoint = min(whole[1].glob(f"{kind}-*.ckpt"))
    assert_resumed(whole, make_sharded(), checkpoint, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 2])
def test_run_that_is_resumed_anywhere_is_the_undisturbed_one(
    whole: Whole, make_sharded: Callable[..., LibriSpeech], num_workers: int, tmp_path: Path
) -> None:
    checkpoints = sorted(whole[1].glob("*.ckpt"))
    assert {file.name.split("-")[0] for file in checkpoints} == {"step", "validation", "epoch"}
    if num_workers:  # one of each kind
        checkpoints = [next(file for file in checkpoints if file.name.startswith(kind)) for kind in ("e", "s", "v")]
    for checkpoint in checkpoints:
        assert_resumed(whole, make_sharded(num_workers=num_workers), checkpoint, tmp_path)


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


@pytest.mark.slow
def test_command_trains_validates_and_resumes(run: Callable[..., Any], shards: Path) -> None:
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


@pytest.mark.slow
def test_loss_that_is_not_finite_names_the_files_in_the_shards(run: Callable[..., Any], shards: Path) -> None:
    with pytest.raises(InputError, match=r"The loss is nan at step \d") as raised:
        run("fit", "--trainer.max_steps=12", "--model.optimizer.lr=1e30", "--trainer.max_epochs=3")
    named = str(raised.value).split("The batch:\n  ")[1].split("\n  ")
    assert all(name.startswith(f"{shards}/train-small-00000") and name.endswith(".flac") for name in named)
