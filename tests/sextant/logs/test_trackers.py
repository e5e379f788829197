"""Runs that are logged to MLflow's files and to W&B's, which bring their own folders along."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning.pytorch.loggers import MLFlowLogger, WandbLogger
from matplotlib.figure import Figure

from sextant.logs.drawing import draw_figure, draw_image, draw_text
from tests.datamodules.recorder import bare_trainer
from tests.sextant.resume.interrupted import Folder
from train import main

pytestmark = pytest.mark.slow  # the imports alone take long
MLFLOW = ("--trainer.logger=MLFlowLogger", "--name=tiny")
WANDB = ("--trainer.logger=WandbLogger", "--trainer.logger.offline=true", "--name=tiny")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server is asked, and nothing is left for the next test."""
    for library in ("mlflow", "wandb"):
        if importlib.util.find_spec(library) is None:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{library} is missing; the group loggers brings it")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_MODE", "offline")


def finish_wandb() -> str:
    """End W&B's run as the end of the process does, and give its id."""
    import wandb

    assert wandb.run is not None
    number = str(wandb.run.id)
    wandb.finish()
    return number


class Tracked(Folder):
    """A run whose logger has no name of a folder."""

    def __init__(self, path: Path, *arguments: str) -> None:
        super().__init__(path, *arguments)
        self.arguments.remove("--trainer.logger.name=tiny")

    def metrics(self) -> dict[str, list[tuple[int, float]]]:
        """Steps and values of MLflow's run but for the speed and the time."""
        from mlflow.tracking import MlflowClient

        client = MlflowClient(f"file:{self.path / 'logs' / 'mlruns'}")
        experiment = client.get_experiment_by_name("tiny")
        assert experiment is not None
        (run,) = client.search_runs([experiment.experiment_id])
        assert run.info.run_name == "version_0"
        assert run.info.status == "FINISHED"
        names = [name for name in run.data.metrics if not name.startswith("throughput")]
        histories = {name: client.get_metric_history(run.info.run_id, name) for name in names}
        return {name: [(point.step, point.value) for point in history] for name, history in histories.items()}


def test_killed_run_of_mlflow_goes_on_as_the_same_run(tmp_path: Path) -> None:
    whole, killed = (Tracked(tmp_path / name, *MLFLOW, "--trainer.max_epochs=3") for name in ("whole", "killed"))
    whole.fit()
    killed.end("on_train_batch_end", 7, 0, "--recovery_checkpoint.every_n_steps=3")
    killed.fit("--ckpt_path=last")
    assert killed.metrics() == whole.metrics()
    assert {"best.ckpt", "last.ckpt"} <= {file.name for file in (killed.run / "checkpoints").iterdir()}
    assert (killed.run / "config.yaml").exists()


def test_run_of_mlflow_that_is_not_there_any_more_is_made_anew(tmp_path: Path) -> None:
    run = Tracked(tmp_path / "run", *MLFLOW)
    run.end("on_train_batch_end", 3, 0, "--recovery_checkpoint.every_n_steps=2")
    (tracked,) = (run.path / "logs" / "mlruns").glob("*/*/metrics")
    shutil.rmtree(tracked.parent)
    run.fit("--ckpt_path=auto")
    assert [step for step, _ in run.metrics()["train/loss_step"]] == [2, 3]


def test_run_of_wandb_goes_on_with_its_id_in_the_folder_of_the_run(tmp_path: Path) -> None:
    run = Tracked(tmp_path / "run", *WANDB, "--trainer.max_epochs=2")
    run.end("on_train_batch_end", 6)
    number = finish_wandb()
    run.fit("--ckpt_path=last")
    assert finish_wandb() == number
    assert len(list((run.run / "wandb").glob(f"offline-run-*-{number}"))) >= 1
    assert [entry.name for entry in run.run.parent.iterdir()] == ["version_0"]
    another = Tracked(tmp_path / "another", *WANDB)
    another.fit()
    assert finish_wandb() != number


def test_what_is_measured_of_a_checkpoint_is_logged_to_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Tracked(tmp_path / "run", *MLFLOW)
    run.fit()
    monkeypatch.chdir(run.path)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    main(["test", *run.arguments, "--ckpt_path=best"])
    assert len(run.metrics()["test/loss"]) == 1


@pytest.mark.parametrize("kind", [MLFlowLogger, WandbLogger])
def test_texts_images_and_figures_are_shown(tmp_path: Path, kind: Callable[..., Any]) -> None:
    run = bare_trainer(tmp_path)
    logger = kind(save_dir=str(tmp_path), **({"offline": True} if kind is WandbLogger else {}))
    run.loggers = [logger]
    draw_text(run, "val/text", "a\nb", 3)
    draw_image(run, "val/image", np.zeros((4, 6, 3), np.uint8), 2)
    draw_figure(run, "val/figure", Figure((2, 1), dpi=10), 1)
    if kind is WandbLogger:
        logger.experiment.finish()
        media = {file.suffix: file for file in tmp_path.rglob("media/**/*") if file.is_file()}
        assert media.keys() == {".png", ".json"}
        assert '"a\\nb"' in media[".json"].read_text()
    else:
        artifacts = next(tmp_path.rglob("artifacts"))
        found = {str(file.relative_to(artifacts)) for file in artifacts.rglob("*") if file.is_file()}
        assert {"val/text/3.txt", "val/image/2.png", "val/figure/1.png"} == found
        assert (artifacts / "val" / "text" / "3.txt").read_text() == "a\nb"
