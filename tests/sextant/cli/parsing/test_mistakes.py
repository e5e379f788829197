"""What is said of mistakes in a command: one line that names the setting, where it stands, and the nearest name."""

import sys
from pathlib import Path

import pytest

from sextant.cli.parsing.mistakes import message_of
from sextant.errors import InputError
from tests.sextant.tiny import ARGUMENTS
from train import main


def complaint(*arguments: str) -> str:
    """What a command that cannot run says, but for where help is found."""
    with pytest.raises(InputError) as error:
        main(["fit", *ARGUMENTS, *arguments])
    lines = str(error.value).splitlines()
    assert len(lines) <= 2
    assert lines[1:] in ([], ["See: python train.py fit --help"], ["See: python train.py --help"])
    return lines[0]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of a user's own that cannot be imported."""
    (tmp_path / "broken_module.py").write_text("import nothing_there\n")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--trainer.max_epoch=3", "there is no such setting. Did you mean trainer.max_epochs?"),
        ("--trainer.max-epochs=3", "there is no such setting. Did you mean trainer.max_epochs?"),
        ("--best_checkpoint.moniter=val/loss", "there is no such setting. Did you mean best_checkpoint.monitor?"),
        ("--xyz=3", "there is no such setting."),
        ("trainer.max_epochs=3", "a setting begins with two dashes: --trainer.max_epochs=3"),
        ("3", "this belongs to no setting."),
    ],
)
def test_argument_that_is_not_known_is_named_with_the_nearest_one(argument: str, expected: str) -> None:
    assert complaint(argument) == f"{argument}: {expected}"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        (
            "data.batchsize",
            "3",
            "there is no such setting. Did you mean data.batch_size? There are: batch_size, num_workers, offset, root,"
            " seed.",
        ),
        (
            "model.slop",
            "3",
            "there is no such setting. Did you mean model.slope? There are: note, optimizer, scheduler, slope, width.",
        ),
        ("model.optimiser.lr", "3", "there is no such setting. Did you mean model.optimizer? There are: note, optim"),
        ("model.optimizer.learning_rate", "3", "there is no such setting. There are: dampening, "),
        ("data.batch_size", "many", "it must be of type int. It is many."),
        ("trainer.max_epochs", "three", "it must be of type int."),
        ("trainer.precision", "17", "it must be one of 64, 32, 16, 'transformer-engine', "),
        ("model", "tests.sextant.tiny.Lines", "there is no class tests.sextant.tiny.Lines. Did you mean Line?"),
        ("model.optimizer", "Admm", "there is no class Admm. Did you mean Adam?"),
        ("trainer.logger", "TensorBoard", "there is no class TensorBoard. Did you mean TensorBoardLogger?"),
    ],
)
def test_setting_of_an_argument_or_of_a_file_is_named_with_what_it_can_be(
    tmp_path: Path, key: str, value: str, expected: str
) -> None:

    assert complaint(f"--{key}={value}").startswith(f"--{key}: {expected}")


def test_file_that_is_not_there_is_named_with_those_beside_it(tmp_path: Path) -> None:
    for name in ("resnet_tiny_imagenet", "trainer"):
        (tmp_path / f"{name}.yaml").touch()
    asked, meant = tmp_path / "resnet.yaml", tmp_path / "resnet_tiny_imagenet.yaml"
    assert complaint(f"--config={asked}") == (
        f"--config={asked}: there is no such file. Did you mean {meant}? In {tmp_path} are {meant.name}, trainer.yaml."
    )


def test_workload_is_in_the_command_that_shows_its_settings() -> None:
    Path("mine.yaml").write_text("trainer: {max_epochs: 1}\n")
    with pytest.raises(InputError, match=r"\nSee: python train\.py fit --config mine\.yaml --help$"):
        main(["fit", *ARGUMENTS, "--config=mine.yaml", "--trainer.max_epoch=3"])


def test_command_that_there_is_not_is_named_with_all_there_are() -> None:
    with pytest.raises(InputError, match=r"there is no command train\. .* fit, .*, runs, report, plan, consolidate\."):
        main(["train"])


def test_strategy_that_is_not_imported_yet_is_named_with_its_module() -> None:
    word = "--trainer.strategy=TorchRecStrategy"
    said = message_of(
        'Parser key "trainer.strategy": Expected a dot import path string: TorchRecStrategy', ["fit", word]
    )
    assert said.endswith(
        "there is no class TorchRecStrategy. Did you mean sextant.strategies.torchrec.TorchRecStrategy?"
    )


STOPPING = "--trainer.callbacks+=EarlyStopping"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            [STOPPING, "--trainer.callbacks.patience=much"],
            "trainer.callbacks.patience: it must be of type int. It is much.",
        ),
        (
            [STOPPING, "--trainer.callbacks.patient=3"],
            "trainer.callbacks.patient: there is no such setting. Did you mean trainer.callbacks.patience? There are: ",
        ),
        ([STOPPING], "--trainer.callbacks: monitor must be given."),
        (
            ["--model=collections.OrderedDict"],
            "--model: Import path does not correspond to a subclass of LightningModule",
        ),
        (
            ["--model=broken_module.Model"],
            "--model: broken_module.Model: it needs nothing_there, which is not installed here.",
        ),
    ],
)
def test_mistake_in_a_class_is_named_by_its_setting_or_by_what_cannot_be_imported(
    module: None, arguments: list[str], expected: str
) -> None:
    said = complaint(*arguments)
    assert said.removeprefix("--").startswith(expected.removeprefix("--")), said
