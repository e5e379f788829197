"""A command that uses a trained model has the settings that give it its meaning from the checkpoint."""

import logging
from pathlib import Path
from typing import Any

import pytest

from sextant.errors import InputError
from tests.sextant.tiny import ARGUMENTS
from train import main

TRAINED = ["--model.width=3", "--model.slope=5", "--data.offset=0.5"]


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    """A run of a model of three inputs on shifted numbers."""
    main(["fit", *ARGUMENTS, *TRAINED, "--data.batch_size=2"])
    return folder


def use(command: str, *more: str) -> Any:
    return main([command, *ARGUMENTS, "--ckpt_path=last", *more])


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_command_needs_no_repeated_options(run: Path, tmp_path: Path, command: str) -> None:
    output = f"--predictions.output={tmp_path / 'rows.csv'}"
    cli = use(command, output)
    assert (cli.model.width, cli.model.slope, cli.datamodule.offset) == (3, 5.0, 0.5)
    assert cli.datamodule.batch_size == 4  # how many samples go together is the command's


def test_settings_that_are_taken_are_said(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="lightning.pytorch.utilities.rank_zero"):
        use("validate")
    for line in ("model.width: 3, not 1", "model.slope: 5.0, not 2.0", "data.offset: 0.5, not 0.0"):
        assert f"\n  {line}" in caplog.text


def test_configuration_gives_way(run: Path, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("model: {init_args: {width: 7}}\ndata: {init_args: {offset: 9}}\n")
    cli = use("validate", f"--config={tmp_path / 'other.yaml'}")
    assert (cli.model.width, cli.datamodule.offset) == (3, 0.5)


@pytest.mark.parametrize("argument", ["--model.width=2", "--model.init_args.width=2", "--data.offset=2"])
def test_argument_that_contradicts_the_model_is_refused(run: Path, argument: str) -> None:
    with pytest.raises(
        InputError, match=r"contradict the model.*\n  (model\.width: checkpoint 3|data\.offset: .*0\.5), "
    ):
        use("validate", argument)


def test_argument_that_says_the_same_is_none_that_contradicts(run: Path) -> None:
    assert use("validate", *TRAINED).model.width == 3


def test_command_may_insist(run: Path) -> None:
    cli = use("validate", "--settings_from=command", *TRAINED[:2], "--data.offset=2")
    assert cli.datamodule.offset == 2.0
