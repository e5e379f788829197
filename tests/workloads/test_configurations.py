"""Every configuration trains: further ones of a model, and those for synthetic data."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.workloads.workload import Workload
from train import main

FEW = [
    *("--data.num_workers=0", "--trainer.max_epochs=1", "--trainer.limit_train_batches=2"),
    *("--trainer.limit_val_batches=1", "--trainer.enable_progress_bar=false"),
]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run commands in the folder of the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])


@pytest.mark.slow
def test_further_configuration_of_a_model_trains_for_some_steps(
    further_workload: Workload, small: Callable[..., list[str]], tmp_path: Path
) -> None:
    main(["fit", *small(further_workload.name), *FEW])
    assert (tmp_path / "logs" / further_workload.log_name / "version_0" / "checkpoints" / "best.ckpt").exists()


@pytest.mark.slow
def test_synthetic_configuration_trains_for_some_steps_and_says_that_its_data_is_no_real_data(
    synthetic: Path, tmp_path: Path
) -> None:
    workload = Workload(synthetic.parent.parent / synthetic.name)
    main(["fit", f"--config={workload.config}", f"--config={synthetic}", *FEW])
    folder = tmp_path / "logs" / f"{workload.settings['name']}-synthetic"
    board = EventAccumulator(str(folder / "version_0")).Reload()
    assert "run/data/text_summary" in board.Tags()["tensors"]
