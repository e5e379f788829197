"""What a command says of its settings."""

import re
import sys

import pytest

from sextant.errors import InputError
from tests.sextant.tiny import ARGUMENTS
from train import main


def help_of(capsys: pytest.CaptureFixture[str], command: str, *arguments: str) -> str:
    with pytest.raises(SystemExit) as end:
        main([command, *arguments, "--help"])
    assert not end.value.code
    return capsys.readouterr().out


def test_settings_have_their_values_and_the_first_sentence_about_them(capsys: pytest.CaptureFixture[str]) -> None:
    said = help_of(capsys, "fit", *ARGUMENTS, "--model.slope=3")
    assert re.search(r"^  --model\.slope=3\.0 +of which the line is learned\.$", said, re.M)
    assert re.search(r"^  --model\.optimizer=torch\.optim\.SGD\n +makes the optimizer\.$", said, re.M)
    assert re.search(r"^  --model\.optimizer\.lr=0\.1 +learning rate ", said, re.M)
    assert re.search(r"^  --trainer\.max_epochs=1 +Stop training once this number of epochs", said, re.M)


def test_settings_that_follow_from_others_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    said = help_of(capsys, "fit", *ARGUMENTS)
    assert "--seed_everything=0" in said
    assert "--stop_after=null" in said
    assert not re.search(r"--data\.seed|--recovery_checkpoint\.stop_after|--model\.optimizer\.params", said)


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict", "export", "plan"])
def test_help_without_a_configuration_names_the_workloads(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py"])
    said = help_of(capsys, command)
    assert said.startswith(f"usage: python train.py {command} --config")
    assert "Workloads: conformer_librispeech, deeplab_voc" in " ".join(said.split())
    assert "\ntrainer:\n" in said


def test_value_that_is_called_as_the_command_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--name=fit " in help_of(capsys, "fit", *ARGUMENTS, "--name", "fit")


def test_mistake_beside_help_is_said() -> None:
    with pytest.raises(InputError, match=r"Did you mean trainer\.max_epochs"):
        main(["fit", *ARGUMENTS, "--trainer.max_epoch=3", "--help"])
