"""Callbacks whose settings are groups of the command line."""

from pathlib import Path

import pytest
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from sextant.cli.cli import SextantCLI
from sextant.errors import InputError
from tests.sextant.tiny import ARGUMENTS
from train import SHARED_CONFIG


class Notes(Callback):
    """Write a note.

    Args:
        text: what is written.
        folder: where to.
    """

    def __init__(self, text: str = "nothing", folder: str = ".") -> None:
        self.text = text
        self.folder = Path(folder)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        (self.folder / "note").write_text(self.text)


def note(tmp_path: Path, *arguments: str) -> str | None:
    """What a validation writes."""
    SextantCLI(
        SHARED_CONFIG,
        ["validate", *ARGUMENTS, "--random_weights=true", "--trainer.logger=false", *arguments],
        {"notes": Notes},
    )
    file = tmp_path / "note"
    return file.read_text() if file.exists() else None


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_callback_is_absent_unless_a_setting_is_given(tmp_path: Path) -> None:
    assert note(tmp_path) is None
    assert note(tmp_path, "--notes.text=hello") == "hello"


def test_settings_of_a_file_and_of_the_command_line_come_together(tmp_path: Path) -> None:
    (tmp_path / "notes.yaml").write_text(yaml.safe_dump({"notes": {"folder": str(tmp_path)}}))
    arguments = [f"--config={tmp_path / 'notes.yaml'}"]
    assert note(tmp_path, *arguments, "--notes=null") is None
    assert note(tmp_path, *arguments) == "nothing"
    assert note(tmp_path, *arguments, "--notes.text=hello") == "hello"


def test_settings_do_not_depend_on_the_order_of_other_callbacks(tmp_path: Path) -> None:
    last = "--trainer.callbacks+=lightning.pytorch.callbacks.LambdaCallback"
    assert note(tmp_path, "--notes.text=hello", last) == "hello"


def test_unknown_setting_is_named() -> None:
    with pytest.raises(InputError, match="bold"):
        SextantCLI(SHARED_CONFIG, ["validate", *ARGUMENTS, "--notes.bold=true"], {"notes": Notes})


def test_help_shows_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        SextantCLI(SHARED_CONFIG, ["validate", "--help"], {"notes": Notes})
    said = " ".join(capsys.readouterr().out.split())
    assert "Write a note (settings: --notes.text, --notes.folder)." in said
