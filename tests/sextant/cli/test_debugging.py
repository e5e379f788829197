"""Configurations that lie over any workload to find what is wrong."""

from pathlib import Path

import pytest

from tests.sextant.resume.interrupted import Folder

DEBUG = Path(__file__).resolve().parents[3] / "configs" / "debug"


@pytest.fixture
def run(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "run")


def test_one_batch_leaves_nothing_behind(run: Folder) -> None:
    trainer = run.fit(f"--config={DEBUG / 'one_batch.yaml'}").trainer
    assert trainer.global_step == 1
    assert not list(run.path.iterdir())


def test_the_same_batches_are_learned_by_heart(run: Folder) -> None:
    short = ["--trainer.max_epochs=10", "--model.optimizer.lr=0.3"]
    trainer = run.fit("--data.batch_size=1", f"--config={DEBUG / 'overfit.yaml'}", *short).trainer
    assert trainer.global_step == 4 * 10
    losses = [value for _, value in run.points()["train/loss"]]
    assert losses[-1] < losses[0] / 3


def test_profile_is_in_the_folder_of_the_run(run: Folder) -> None:
    run.fit(f"--config={DEBUG / 'profiler.yaml'}")
    names = {file.name for file in run.run.iterdir()}
    assert "fit-profile.txt" in names
    assert any(name.endswith(".pt.trace.json") for name in names), names
    assert "Self CPU time total" in (run.run / "fit-profile.txt").read_text()
