"""One command serves a job that is started again: it goes on with its run, or begins one."""

from pathlib import Path

import pytest

from sextant.errors import InputError
from sextant.signals import Stopped
from tests.sextant.resume.interrupted import Folder, assert_same


def test_command_goes_on_with_the_newest_run_of_its_configuration_or_begins_one(tmp_path: Path) -> None:
    whole, run = Folder(tmp_path / "whole"), Folder(tmp_path / "run")
    whole.fit()
    with pytest.raises(Stopped, match="Stopped by SIGUSR1 after 1 steps") as stopped:
        run.fit("--ckpt_path=auto", "--stop_after=0.000001s")
    assert stopped.value.exit_code == 138
    run.fit("--ckpt_path=auto", "--model.slope=3")  # another configuration
    run.fit("--ckpt_path=auto")
    assert_same(whole, run)
    assert sorted(folder.name for folder in run.run.parent.iterdir()) == ["version_0", "version_1"]
    run.fit("--ckpt_path=auto")  # nothing is left to do
    assert run.checkpoint()["global_step"] == whole.checkpoint()["global_step"]


def test_configuration_that_cannot_be_read_is_none_of_this_command(tmp_path: Path) -> None:
    run = Folder(tmp_path / "run")
    run.fit()
    (run.run / "config.yaml").write_text("trainer: 3")
    run.fit("--ckpt_path=auto")
    assert sorted(folder.name for folder in run.run.parent.iterdir()) == ["version_0", "version_1"]


def test_model_is_not_used_with_whatever_checkpoint_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    from tests.sextant.tiny import ARGUMENTS
    from train import main

    with pytest.raises(InputError, match=r"--ckpt_path=auto is for fit"):
        main(["validate", *ARGUMENTS, "--ckpt_path=auto"])


def test_text_that_is_no_duration_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'soon' is no duration"):
        Folder(tmp_path / "run").fit("--stop_after=soon")
