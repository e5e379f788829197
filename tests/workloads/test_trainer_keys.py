"""Settings of the Trainer with every workload: each does what it says, or is one error."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sextant.errors import InputError
from tests.trainer_keys import REFUSED, TOGETHER, WORK, WORK_OR_NOT
from tests.workloads.workload import Workload
from train import main

pytestmark = pytest.mark.slow


def test_settings_of_the_trainer_work_or_are_refused(
    base_workload: Workload, small: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py"])
    few = ["--trainer.limit_train_batches=3", "--trainer.limit_val_batches=1", "--trainer.val_check_interval=1.0"]
    plain = ["fit", *small(base_workload.name), *few, "--trainer.max_epochs=1", "--data.num_workers=0"]
    plain += ["--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu"]
    refusals = REFUSED if base_workload.name.startswith("dlrm") else ()  # they do not depend on the workload
    alone = [(argument,) for argument in (*WORK, *WORK_OR_NOT, *refusals) if argument not in TOGETHER]
    for number, arguments in enumerate((TOGETHER, *alone)):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        refused = _refused([*plain, *arguments])
        assert not (refused and arguments[0] in WORK), (arguments, refused)
        assert refused or arguments[0] not in REFUSED, arguments


def _refused(arguments: list[str]) -> str | None:
    """Why a run is refused; None if it ends well."""
    try:
        assert main(arguments).trainer.state.finished
    except InputError as error:
        return str(error)
    return None
