"""The folder of a workload's runs, by the settings of its logger or by the command's own."""

from pathlib import Path
from typing import Any

import pytest
from jsonargparse import Namespace, dict_to_namespace

from sextant.cli.runs import keep_mlflow_store_apart, require_libraries, run_name, runs_folder
from sextant.errors import InputError


def config(logger: Any, synthetic: Any = False, **trainer: Any) -> Namespace:
    data = {"class_path": "Data", "init_args": {"synthetic": synthetic}}
    made: Namespace = dict_to_namespace({"name": "work", "data": data, "trainer": {"logger": None} | trainer})
    given = logger if isinstance(logger, list) else [logger]
    made.trainer.logger = [dict_to_namespace(each) if isinstance(each, dict) else each for each in given]
    if not isinstance(logger, list):
        (made.trainer.logger,) = made.trainer.logger
    return made


def logger(kind: str, **settings: Any) -> dict[str, Any]:
    return {"class_path": f"lightning.pytorch.loggers.{kind}", "init_args": settings}


@pytest.mark.parametrize(
    ("loggers", "trainer", "folder"),
    [
        (logger("TensorBoardLogger", save_dir="logs", name="lightning_logs"), {}, "logs/work"),
        (logger("TensorBoardLogger", save_dir="a", name="b"), {}, "a/b"),
        (logger("CSVLogger", save_dir="a", name="b"), {}, "a/b"),
        (logger("WandbLogger", save_dir="a", name="shown"), {}, "a/work"),
        (logger("WandbLogger", save_dir="."), {}, "logs/work"),
        (logger("MLFlowLogger", save_dir="./mlruns"), {}, "logs/work"),
        ([logger("WandbLogger", save_dir="."), logger("CSVLogger", save_dir="a", name="b")], {}, "a/b"),
        ([], {}, "logs/work"),
        (False, {}, "logs/work"),
        (None, {"default_root_dir": "root"}, "root/work"),
        (logger("TensorBoardLogger", save_dir="logs"), {"default_root_dir": "root"}, "root/work"),
        (logger("TensorBoardLogger", save_dir="logs"), {"default_root_dir": "s3://runs"}, "logs/work"),
        (logger("TensorBoardLogger", save_dir="a"), {"default_root_dir": "root"}, "a/work"),
        (True, {"default_root_dir": "root"}, "root/work"),
    ],
)
def test_folder_is_that_of_the_first_logger_that_names_one(loggers: Any, trainer: dict[str, str], folder: str) -> None:
    assert runs_folder(config(loggers, **trainer)) == Path(folder)


def test_runs_on_generated_data_have_a_folder_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert runs_folder(config(False, synthetic=True)) == Path("logs/work-synthetic")
    named = config(logger("CSVLogger", save_dir="~/runs", name="work-synthetic"), synthetic=True)
    assert runs_folder(named) == Path("/home/me/runs/work-synthetic")


def test_folder_of_a_run_is_named_by_a_version_alone() -> None:
    assert run_name(config(logger("CSVLogger", version=3))) == "version_3"
    assert (
        run_name(config([logger("WandbLogger", version="id"), logger("TensorBoardLogger", version="mine")])) == "mine"
    )
    assert run_name(config(logger("CSVLogger", version=None))) is None


@pytest.mark.parametrize(
    ("given", "uri"),
    [
        ({"save_dir": "logs"}, f"file:{Path.cwd() / 'logs' / 'mlruns'}"),
        ({"save_dir": "./mlruns"}, f"file:{Path.cwd() / 'mlruns'}"),
        ({"save_dir": "logs", "tracking_uri": "http://there"}, "http://there"),
    ],
)
def test_mlflow_keeps_its_files_beside_the_folders_of_runs(given: dict[str, str], uri: str) -> None:
    made = config(logger("MLFlowLogger", **({"tracking_uri": None} | given)))
    keep_mlflow_store_apart(made)
    assert made.trainer.logger.init_args.tracking_uri == uri


def test_logger_whose_library_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sextant.cli.runs.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"trainer\.logger: WandbLogger needs wandb, which is missing"):
        require_libraries(config([logger("CSVLogger", save_dir="logs"), logger("WandbLogger")]))
    require_libraries(config(logger("CSVLogger", save_dir="logs")))
