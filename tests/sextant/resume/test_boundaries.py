"""Where a run may be cut in two: it ends as if it had not been."""

import itertools
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from typing_extensions import override

from sextant.contracts import Observer
from tests.sextant.resume.interrupted import Folder, assert_same

PLATEAU = [
    "--model.scheduler=lightning.pytorch.cli.ReduceLROnPlateau",
    *("--model.scheduler.monitor=val/loss", "--model.scheduler.patience=0", "--model.scheduler.threshold=0.9"),
]
WRITING = "--trainer.callbacks+=tests.sextant.resume.test_boundaries.Writes"
WITHIN = ["--trainer.max_epochs=2", "--trainer.val_check_interval=0.5", *PLATEAU, WRITING]
AVERAGED = "--trainer.callbacks+=callbacks.weight_averaging.EMAWeightAveraging"

#: Hooks, and the steps that were made then: a validation follows steps 2, 4, 6 and 8, an epoch ends with 4 and 8.
MOMENTS = [
    *itertools.product(["on_train_batch_start", "on_train_batch_end"], range(2, 8)),
    *itertools.product(["on_validation_start", "on_validation_batch_start", "on_validation_end"], (2, 4, 6, 8)),
    *itertools.product(["on_train_epoch_end"], (4, 8)),
]
LATE = [("on_validation_end", 8), ("on_train_epoch_end", 8)]  # nothing is left to do but to end
QUICK = [
    ("on_train_batch_end", 6),
    ("on_validation_batch_start", 6),
    ("on_validation_end", 2),
    ("on_train_batch_start", 5),
]


def moments(quick: list[tuple[str, int]]) -> list[Any]:
    return [pytest.param(*case, marks=[] if case in quick else pytest.mark.slow) for case in MOMENTS]


class Writes(Observer):
    """Writes into the log in the middle of a validation, as what shows its first samples does."""

    @override
    def on_validation_batch_start(self, trainer: Trainer, *args: Any) -> None:
        if isinstance(trainer.logger, TensorBoardLogger) and not trainer.sanity_checking:
            trainer.logger.experiment.add_scalar("val/batch", 1.0, trainer.global_step)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A run of two epochs of four steps, which validates twice in each, with a rate that follows the validations."""
    folder = Folder(tmp_path_factory.mktemp("whole") / "run", *WITHIN)
    folder.fit()
    assert len(folder.points()["val/loss"]) == 4
    assert folder.checkpoint()["optimizer_states"][0]["param_groups"][0]["lr"] < 0.05
    return folder


@pytest.mark.parametrize(("moment", "step"), moments(QUICK[:2]))
@pytest.mark.parametrize("every", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_run_that_was_killed_ends_as_if_it_had_not_been(
    whole: Folder, tmp_path: Path, moment: str, step: int, every: int
) -> None:
    run = Folder(tmp_path / "run", *WITHIN, f"--recovery_checkpoint.every_n_steps={every}")
    run.end(moment, step)
    if (run.run / "checkpoints" / "last.ckpt").exists():
        run.fit("--ckpt_path=last")
        assert_same(whole, run)
    else:  # the first one is written after the validation of its step
        assert step <= every


@pytest.mark.parametrize(("moment", "step"), [case for case in moments(QUICK) if case.values not in LATE])
def test_run_that_got_a_signal_ends_as_if_it_had_not(whole: Folder, tmp_path: Path, moment: str, step: int) -> None:
    run = Folder(tmp_path / "run", *WITHIN)
    run.end(moment, step, signal.SIGTERM)
    assert run.checkpoint()["global_step"] in (step, step + 1)
    run.fit("--ckpt_path=last")
    assert_same(whole, run)


def test_run_that_began_with_a_validation_and_was_killed_later_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    """In the same epoch, after its next validation."""
    settings = [*WITHIN, "--trainer.val_check_interval=1", "--recovery_checkpoint.every_n_steps=1"]
    whole, run = Folder(tmp_path / "whole", *settings), Folder(tmp_path / "run", *settings)
    whole.fit()
    run.end("on_train_batch_end", 1, signal.SIGTERM)
    run.end("on_train_batch_start", 2, 0, "--ckpt_path=last")
    run.fit("--ckpt_path=last")
    assert_same(whole, run)


def test_signal_after_the_last_step_lets_the_run_end(whole: Folder, tmp_path: Path) -> None:
    run = Folder(tmp_path / "run", *WITHIN)
    run.fit(*run.ending("on_train_epoch_end", 8, signal.SIGTERM))
    assert_same(whole, run)


@pytest.mark.parametrize("step", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_signal_in_a_validation_of_averaged_weights_saves_both(tmp_path: Path, step: int) -> None:
    whole = Folder(tmp_path / "whole", *WITHIN, AVERAGED)
    whole.fit()
    run = Folder(tmp_path / "run", *WITHIN, AVERAGED)
    run.end("on_validation_batch_start", step, signal.SIGTERM)
    run.fit("--ckpt_path=last")
    assert_same(whole, run)


@pytest.mark.parametrize("steps", [5, pytest.param(6, marks=pytest.mark.slow)])
def test_run_that_stops_within_an_epoch_is_gone_on_with_there(whole: Folder, tmp_path: Path, steps: int) -> None:
    """Whether or not a validation belongs to its last step."""
    run = Folder(tmp_path / "run", *WITHIN)
    run.fit(f"--trainer.max_steps={steps}")
    assert run.checkpoint()["PointsData"] == {"epoch": 1, "done": [[steps - 4, 1]]}
    assert [step for step, _ in run.points()["val/loss"]][-1] == steps
    run.fit("--ckpt_path=last", "--trainer.max_steps=-1", "--settings_from=command")
    assert_same(whole, run)


@pytest.mark.parametrize(
    ("moment", "number"),
    [("on_validation_batch_start", 0), *(pytest.param(*case, marks=pytest.mark.slow) for case in [
        ("on_train_batch_end", signal.SIGTERM), ("on_validation_batch_start", signal.SIGTERM), ("on_train_epoch_end", 0)
    ])],
)  # fmt: skip
@pytest.mark.parametrize("steps", [5, *(pytest.param(steps, marks=pytest.mark.slow) for steps in (6, 8))])
def test_run_that_ends_before_its_last_validation_does_is_gone_on_with_there(
    tmp_path: Path, steps: int, moment: str, number: int
) -> None:
    """No step is left then."""
    limits = [*WITHIN, f"--trainer.max_steps={steps}", "--recovery_checkpoint.every_n_steps=1"]
    whole, run = Folder(tmp_path / "whole", *limits), Folder(tmp_path / "run", *limits)
    whole.fit()
    run.end(moment, steps, number)
    run.fit("--ckpt_path=last")
    assert_same(whole, run)
    run.fit("--ckpt_path=last")
    assert_same(whole, run)


def test_run_that_stops_in_an_epoch_without_validation_validates_then(tmp_path: Path) -> None:
    run = Folder(tmp_path / "run", "--trainer.max_steps=3", "--trainer.check_val_every_n_epoch=2")
    run.fit()
    assert run.checkpoint("best")["PointsData"] == {"epoch": 0, "done": [[3, 1]]}


@pytest.mark.slow
def test_run_may_be_gone_on_with_from_the_best_checkpoint_of_an_epoch_or_within_one(
    whole: Folder, tmp_path: Path
) -> None:
    for step in (2, 4, 6):
        run = Folder(tmp_path / str(step), *WITHIN)
        run.end("on_train_batch_end", step + 1)
        assert run.checkpoint("best")["global_step"] == step
        run.fit("--ckpt_path=best")
        assert_same(whole, run)


class Sleeps(Observer):
    """Makes a step take longer than all others."""

    def __init__(self) -> None:
        self.steps = 0

    @override
    def on_train_batch_start(self, *args: Any) -> None:
        self.steps += 1
        time.sleep(1.1 if self.steps == 2 else 0)


@pytest.mark.slow
def test_limit_of_time_counts_for_each_command(whole: Folder, tmp_path: Path) -> None:
    run = Folder(tmp_path / "run", *WITHIN, "--trainer.max_time=00:00:00:01")
    sleeps = "--trainer.callbacks+=tests.sextant.resume.test_boundaries.Sleeps"
    for done in (2, 4, 6):
        run.fit(sleeps, *(["--ckpt_path=last"] if done > 2 else []))
        assert run.checkpoint()["global_step"] == done
    run.fit("--ckpt_path=last", "--trainer.max_time=null")
    assert_same(whole, run)


@pytest.mark.slow
def test_run_that_a_callback_stops_within_an_epoch_is_gone_on_with_there(whole: Folder, tmp_path: Path) -> None:
    run = Folder(tmp_path / "run", *WITHIN)
    stopping = "--trainer.callbacks+=lightning.pytorch.callbacks.EarlyStopping"
    run.fit(stopping, "--trainer.callbacks.monitor=val/loss", "--trainer.callbacks.stopping_threshold=10")
    assert run.checkpoint()["PointsData"] == {"epoch": 0, "done": [[2, 1]]}
    run.fit("--ckpt_path=last", "--settings_from=command")
    assert_same(whole, run)


def test_signal_before_training_ends_the_command_at_once(tmp_path: Path) -> None:
    run = Folder(tmp_path / "run")
    run.end("on_fit_start", 0, signal.SIGTERM)
    assert not (run.run / "checkpoints").exists()


def test_checkpoint_of_another_job_is_not_taken_under_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning resumes from any of that name in the working folder."""
    run = Folder(tmp_path / "run")
    monkeypatch.setenv("SLURM_NTASKS", "1")
    monkeypatch.setenv("SLURM_JOB_NAME", "job")
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    (run.path / "hpc_ckpt_1.ckpt").write_bytes(b"of another job")
    run.end("on_train_batch_start", 1, signal.SIGUSR1)
    assert [file.name for file in run.path.glob("hpc*")] == ["hpc_ckpt_1.ckpt"]
    assert run.checkpoint()["global_step"] == 2
