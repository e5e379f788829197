"""The installed Lightning and torchmetrics still have what the library leans on, and mean the same by it."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.profilers import SimpleProfiler
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset
from torchmetrics import MeanMetric
from typing_extensions import override

from sextant import lightning_internals as internals
from sextant.errors import InputError
from tests.datamodules.recorder import bare_trainer


class Module(LightningModule):
    """Learns one weight, and asks something in each training step."""

    def __init__(self, ask: Callable[[Trainer], Any] = lambda trainer: None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.ask = ask
        self.answers: list[Any] = []

    @override
    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.weight.sum()

    @override
    def on_train_batch_end(self, *args: Any) -> None:
        self.answers.append(self.ask(self.trainer))

    @override
    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Data(LightningDataModule):
    """Three batches."""

    @override
    def train_dataloader(self) -> DataLoader:
        return DataLoader(torch.arange(3.0))  # type: ignore[arg-type]


def answers(folder: Path, ask: Callable[[Trainer], Any], **options: Any) -> list[Any]:
    """What is answered after each of the three batches of each of two epochs."""
    module = Module(ask)
    bare_trainer(folder, **({"max_epochs": 2} | options)).fit(module, datamodule=Data())
    return module.answers


def test_datamodule_of_a_run_is_the_one_it_was_given(tmp_path: Path) -> None:
    assert all(isinstance(data, Data) for data in answers(tmp_path, internals.datamodule_of))
    trainer = bare_trainer(tmp_path, max_epochs=1)
    trainer.fit(Module(), DataLoader(torch.arange(3.0)))  # type: ignore[arg-type]
    assert internals.datamodule_of(trainer) is None


def test_callbacks_of_a_run_are_those_it_was_given(tmp_path: Path) -> None:
    callback = Callback()
    assert callback in internals.callbacks_of(bare_trainer(tmp_path, callbacks=[callback]))


def test_options_of_the_trainer_can_be_read(tmp_path: Path) -> None:
    trainer = bare_trainer(tmp_path, log_every_n_steps=7)
    assert [step for step in range(20) if internals.is_logged(trainer, step)] == [0, 7, 14]
    assert not internals.is_logged(bare_trainer(tmp_path, log_every_n_steps=0), 7)
    assert not internals.is_fast_dev_run(trainer)
    assert internals.is_fast_dev_run(bare_trainer(tmp_path, fast_dev_run=2))


def test_trainer_of_a_part_is_the_one_it_is_attached_to(tmp_path: Path) -> None:
    module, data = Module(), Data()
    assert internals.trainer_of(module) is internals.trainer_of(data) is None
    trainer = bare_trainer(tmp_path, max_epochs=1)
    trainer.fit(module, datamodule=data)
    assert internals.trainer_of(module) is internals.trainer_of(data) is trainer


def test_run_that_repeats_a_few_batches_is_known_as_one(tmp_path: Path) -> None:
    assert not internals.is_overfitting(bare_trainer(tmp_path))
    assert internals.is_overfitting(bare_trainer(tmp_path, overfit_batches=0.3))


def test_second_split_among_processes_is_refused(tmp_path: Path) -> None:
    quiet: dict[str, Any] = {"accelerator": "cpu", "logger": False, "default_root_dir": tmp_path}
    internals.refuse_distributed_sampler(Trainer(**quiet, use_distributed_sampler=True))
    several = quiet | {"devices": 2, "strategy": "ddp"}
    internals.refuse_distributed_sampler(Trainer(**several, use_distributed_sampler=False))
    with pytest.raises(InputError, match="use_distributed_sampler is true"):
        internals.refuse_distributed_sampler(Trainer(**several, use_distributed_sampler=True))


def test_run_of_fit_is_known_as_one(tmp_path: Path) -> None:
    assert all(answers(tmp_path, internals.is_fitting))
    assert not internals.is_fitting(bare_trainer(tmp_path))


def test_batches_and_epochs_are_counted_where_they_are_looked_up(tmp_path: Path) -> None:
    def ask(trainer: Trainer) -> tuple[int, ...]:
        batches, epochs = internals.batches_of_epoch(trainer), internals.epochs_of_run(trainer)
        return batches.ready, batches.processed, epochs.started, epochs.processed

    assert answers(tmp_path, ask) == [(i, i, epoch + 1, epoch) for epoch in (0, 1) for i in (1, 2, 3)]


def test_last_batch_of_an_epoch_is_known_as_such(tmp_path: Path) -> None:
    assert answers(tmp_path, internals.is_last_batch) == [False, False, True] * 2


class Validated(Module):
    """With a validation that measures nothing."""

    @override
    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.answers.append("validation")


class ValidatedData(Data):
    """Three batches of each."""

    @override
    def val_dataloader(self) -> DataLoader:
        return self.train_dataloader()


def test_validation_is_due_by_the_intervals_alone(tmp_path: Path) -> None:
    module = Validated(internals.validation_due)
    trainer = bare_trainer(
        tmp_path, max_epochs=2, val_check_interval=2, check_val_every_n_epoch=2, num_sanity_val_steps=0, max_steps=6
    )
    trainer.fit(module, datamodule=ValidatedData())
    assert module.answers == [False, False, False, False, True, *["validation"] * 3, False]


def test_run_stops_after_the_step_that_reaches_a_limit_or_was_asked_to(tmp_path: Path) -> None:
    assert answers(tmp_path, internals.stops_after_step, max_steps=2) == [False, True]

    def asked(trainer: Trainer) -> bool:
        trainer.should_stop = trainer.global_step >= 3
        return internals.stops_after_step(trainer)

    assert answers(tmp_path, asked) == [False, False, True]
    assert answers(tmp_path, asked, min_steps=5) == [False, False, False, False, True]


def test_run_that_stops_validates_first_if_it_is_told_to(tmp_path: Path) -> None:
    def ask(trainer: Trainer) -> int:
        if trainer.global_step == 2:
            internals.validate_before_stop(trainer)
        return trainer.global_step

    module = Validated(ask)
    trainer = bare_trainer(tmp_path, max_epochs=4, check_val_every_n_epoch=3, num_sanity_val_steps=0)
    trainer.fit(module, datamodule=ValidatedData())
    assert module.answers == [1, 2, *["validation"] * 3]


def test_batches_of_the_run_are_counted_over_its_epochs(tmp_path: Path) -> None:
    assert answers(tmp_path, internals.total_batches) == [1, 2, 3, 4, 5, 6]


def test_boundaries_come_after_whole_steps_around_the_validation_and_after_epochs(tmp_path: Path) -> None:
    module = Validated()
    trainer = bare_trainer(tmp_path, max_epochs=1, accumulate_grad_batches=2, num_sanity_val_steps=0)
    internals.call_at_boundaries(
        trainer,
        before_validation=lambda: module.answers.append(f"before {trainer.global_step}"),
        after_step=lambda: module.answers.append(f"after {trainer.global_step}"),
        after_epoch=lambda: module.answers.append("epoch"),
    )
    trainer.fit(module, datamodule=ValidatedData())
    steps = [answer for answer in module.answers if answer is not None]
    assert steps == ["before 1", "after 1", "before 2", *["validation"] * 3, "after 2", "epoch"]


def test_signals_are_left_alone(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def ask(trainer: Trainer) -> bool:
        return signal.getsignal(signal.SIGTERM) == before

    trainer, module = bare_trainer(tmp_path, max_epochs=1), Module(ask)
    internals.leave_signals_alone(trainer)
    trainer.fit(module, datamodule=Data())
    assert module.answers == [True] * 3
    assert not all(answers(tmp_path, ask))


def test_process_may_end_while_others_end_with_a_code(monkeypatch: pytest.MonkeyPatch) -> None:
    observer = _ChildProcessObserver(os.getpid(), [subprocess.Popen([sys.executable, "-c", "raise SystemExit(143)"])])
    killed: list[Any] = []
    monkeypatch.setattr(observer, "_kill", lambda: killed.append(True), raising=False)
    monkeypatch.setattr(os, "kill", lambda *args: killed.append(args))
    monkeypatch.setattr(threading, "enumerate", lambda: [observer])
    observer._child_processes[0].wait()
    internals.let_processes_end()
    observer._sleep_period = 0
    observer.run()
    assert not killed


class Saves(Callback):
    """Writes a checkpoint after the second batch of the first epoch, and one at its end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @override
    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if trainer.global_step == 2:
            trainer.save_checkpoint(self.folder / "partial.ckpt")

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 0:
            trainer.save_checkpoint(self.folder / "end.ckpt")


def test_batches_in_a_checkpoint_are_those_that_a_resumed_run_counts_on_from(tmp_path: Path) -> None:
    bare_trainer(tmp_path, max_epochs=1, callbacks=[Saves(tmp_path)]).fit(Module(), datamodule=Data())
    checkpoint = torch.load(tmp_path / "partial.ckpt", weights_only=True)
    counts = internals.batches_in_checkpoint(checkpoint)
    assert counts["processed"] == 2
    counts.update({stage: count - 1 for stage, count in counts.items()})
    torch.save(checkpoint, tmp_path / "changed.ckpt")
    resumed = Module(lambda trainer: internals.batches_of_epoch(trainer).processed)
    bare_trainer(tmp_path, max_epochs=1).fit(resumed, datamodule=Data(), ckpt_path=str(tmp_path / "changed.ckpt"))
    assert resumed.answers == [2, 3]


@pytest.mark.parametrize("by_data", [False, True])
def test_epoch_that_was_over_at_a_checkpoint_ends_once_more_unless_epochs_are_counted_by_data(
    tmp_path: Path, by_data: bool
) -> None:
    ended: list[int] = []

    class Ends(Callback):
        @override
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            ended.append(trainer.current_epoch)

        @override
        def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
            if by_data:
                internals.count_epochs_by_data(trainer)

    bare_trainer(tmp_path, max_steps=6, callbacks=[Saves(tmp_path)]).fit(Module(), datamodule=Data())
    trainer = bare_trainer(tmp_path, max_steps=6, callbacks=[Ends()])
    trainer.fit(Module(), datamodule=Data(), ckpt_path=str(tmp_path / "end.ckpt"))
    assert ended == ([1] if by_data else [0, 1])


def test_run_that_is_resumed_at_its_last_step_ends_the_epoch_without_another(tmp_path: Path) -> None:
    ended: list[int] = []

    class Ends(Callback):
        @override
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            ended.append(trainer.global_step)

    bare_trainer(tmp_path, max_epochs=1, callbacks=[Saves(tmp_path)]).fit(Module(), datamodule=Data())
    resumed = Module()
    trainer = bare_trainer(tmp_path, max_steps=2, callbacks=[Ends()])
    internals.end_again(trainer, lambda: False)
    trainer.fit(resumed, datamodule=Data(), ckpt_path=str(tmp_path / "partial.ckpt"))
    assert (ended, resumed.answers, trainer.max_steps) == ([2], [], 2)


def test_run_that_is_resumed_at_its_end_ends_without_another_epoch(tmp_path: Path) -> None:
    heard: list[str] = []

    class Hears(Callback):
        @override
        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            heard.append("start")

        @override
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            heard.append("epoch")

        @override
        def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            heard.append(f"end after {trainer.current_epoch}")

    bare_trainer(tmp_path, max_epochs=1, callbacks=[Saves(tmp_path)]).fit(Module(), datamodule=Data())
    trainer = bare_trainer(tmp_path, max_epochs=1, callbacks=[Hears()])
    internals.end_again(trainer, lambda: True)
    trainer.fit(Module(), datamodule=Data(), ckpt_path=str(tmp_path / "end.ckpt"))
    assert (heard, trainer.max_epochs) == (["start", "end after 1"], 1)


def test_stream_hears_of_each_epoch(tmp_path: Path) -> None:
    heard: list[int] = []

    class Stream(IterableDataset):
        @override
        def __iter__(self) -> Any:
            return iter(torch.arange(3.0))

        def set_epoch(self, epoch: int) -> None:
            heard.append(epoch)

    loader = DataLoader(Stream())
    internals.tell_epoch_to(loader, loader.dataset)
    bare_trainer(tmp_path, max_epochs=2).fit(Module(), loader)
    assert sorted(set(heard)) == [0, 1]


def test_number_of_updates_of_a_metric_can_be_set() -> None:
    metric = MeanMetric()
    metric.update(1.0)
    internals.set_update_count(metric, 5)
    assert metric.update_count == 5
    assert metric.update_called


def test_metric_says_whether_it_holds_the_state_of_all_processes() -> None:
    metric = MeanMetric()
    metric.update(1.0)
    assert not internals.is_synced(metric)
    metric.sync(dist_sync_fn=lambda x, group: [x, x], distributed_available=lambda: True)
    assert internals.is_synced(metric)


@pytest.mark.parametrize("name", ["_parse_ckpt_path", "_run_subcommand"])
def test_command_line_has_the_steps_that_ours_replaces(name: str) -> None:
    assert callable(getattr(LightningCLI, name))


def test_trainer_module_and_data_know_each_other_before_a_run(tmp_path: Path) -> None:
    trainer, module, data = bare_trainer(tmp_path), Module(), Data()
    internals.attach(trainer, module, data)
    assert internals.datamodule_of(trainer) is data
    assert module.trainer is data.trainer is trainer


def test_state_of_an_optimizer_is_moved() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adagrad([parameter])
    internals.move_state([optimizer], torch.device("meta"))
    assert optimizer.state[parameter]["sum"].device == torch.device("meta")
    assert parameter.device == torch.device("cpu")


def test_profiler_writes_into_a_folder_unless_it_has_one(tmp_path: Path) -> None:
    for given, folder in ((None, tmp_path), ("there", "there")):
        trainer = bare_trainer(tmp_path, profiler=SimpleProfiler(given, "times"))
        internals.profile_into(trainer, tmp_path)
        assert trainer.profiler.dirpath == folder  # type: ignore[attr-defined]
