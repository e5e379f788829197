"""What a command says of its optimizer holds in a run that is gone on with, and in its configuration."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sextant.errors import InputError
from tests.sextant.resume.interrupted import Folder

COMMAND = ("--ckpt_path=last", "--settings_from=command")
STEP = ["--model.scheduler=torch.optim.lr_scheduler.StepLR", "--model.scheduler.step_size=1"]
PLATEAU = [
    "--model.scheduler=lightning.pytorch.cli.ReduceLROnPlateau",
    *("--model.scheduler.monitor=val/loss", "--model.scheduler.patience=0", "--model.scheduler.threshold=100"),
]


def group(run: Folder) -> dict[str, Any]:
    found: dict[str, Any] = run.checkpoint()["optimizer_states"][0]["param_groups"][0]
    return found


@pytest.fixture
def run(tmp_path: Path) -> Folder:
    """A run of one epoch with a rate of 0.1."""
    return Folder(tmp_path / "run")


def test_rate_and_other_settings_of_the_optimizer_are_the_command_s(run: Folder) -> None:
    run.fit()
    run.fit(*COMMAND, "--trainer.max_epochs=2", "--model.optimizer.lr=0.05", "--model.optimizer.weight_decay=0.01")
    assert (group(run)["lr"], group(run)["weight_decay"]) == (0.05, 0.01)
    rates = [value for name, points in run.points().items() if name.startswith("lr-") for _, value in points]
    assert rates == pytest.approx([0.1] * 4 + [0.05] * 4)


def test_rate_that_a_schedule_has_cut_is_scaled(run: Folder) -> None:
    run.fit(*STEP, "--model.scheduler.gamma=0.5")
    assert group(run)["lr"] == 0.05
    run.fit(*COMMAND, *STEP, "--model.scheduler.gamma=0.1", "--model.optimizer.lr=1", "--trainer.max_epochs=2")
    assert group(run)["lr"] == pytest.approx(1 * 0.5 * 0.1)


def test_rate_that_followed_the_validations_is_scaled_and_its_factor_is_the_command_s(run: Folder) -> None:
    run.fit(*PLATEAU, "--trainer.val_check_interval=0.5")
    assert group(run)["lr"] == pytest.approx(0.001)
    more = ("--trainer.val_check_interval=1.0", "--trainer.max_epochs=2", "--model.optimizer.lr=1")
    run.fit(*COMMAND, *PLATEAU, "--model.scheduler.factor=0.5", *more)
    assert group(run)["lr"] == pytest.approx(0.01 * 0.5)


def test_rate_that_spans_the_run_is_that_of_the_command_s_run_from_the_first_step(run: Folder) -> None:
    spanning = ["--model.scheduler=sextant.optimization.PolynomialDecay"]
    run.fit(*spanning, "--model.scheduler.power=1")
    run.fit(*COMMAND, *spanning, "--model.scheduler.power=1", "--model.optimizer.lr=0.8", "--trainer.max_epochs=2")
    (rates,) = (points for name, points in run.points().items() if name.startswith("lr-"))
    assert [value for _, value in rates][4:] == pytest.approx([0.8 * (1 - step / 8) for step in range(4, 8)])


@pytest.mark.parametrize(("before", "after"), [([], STEP), (STEP, []), (STEP, PLATEAU)])
def test_schedule_of_another_class_is_refused(run: Folder, before: list[str], after: list[str]) -> None:
    run.fit(*before)
    with pytest.raises(InputError, match=r"The checkpoint's schedule is .*, and this command's is "):
        run.fit(*COMMAND, *after, "--trainer.max_epochs=2")


def test_data_cannot_change_within_an_epoch_and_can_between_two(run: Folder) -> None:
    run.fit("--trainer.max_steps=3")
    with pytest.raises(InputError, match=r"within an epoch.*\n  data\.batch_size: checkpoint 2, command 4\n"):
        run.fit(*COMMAND, "--trainer.max_steps=8", "--data.batch_size=4")
    run.fit(*COMMAND, "--trainer.max_steps=4")
    run.fit(*COMMAND, "--trainer.max_steps=6", "--trainer.max_epochs=2", "--data.batch_size=4")
    assert run.checkpoint()["PointsData"] == {"epoch": 2, "done": []}


def test_configuration_of_a_run_that_was_gone_on_with_starts_a_new_one(run: Folder) -> None:
    run.fit()
    first = yaml.safe_load((run.run / "config.yaml").read_text())
    run.fit(*COMMAND, "--trainer.max_epochs=2")
    second = yaml.safe_load((run.run / "config.yaml").read_text())
    assert second["trainer"].pop("max_epochs") == 2
    assert first["trainer"].pop("max_epochs") == 1
    assert first == second
    run.arguments = [f"--config={run.run / 'config.yaml'}"]
    before = (run.run / "checkpoints" / "last.ckpt").read_bytes()
    run.fit()
    assert (run.run.parent / "version_1" / "checkpoints" / "last.ckpt").exists()
    assert (run.run / "checkpoints" / "last.ckpt").read_bytes() == before
