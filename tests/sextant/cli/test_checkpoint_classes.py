"""A checkpoint that names classes which are gone, or code to run."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from sextant.errors import InputError
from tests.sextant.tiny import ARGUMENTS
from train import main


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Path:
    """The checkpoint of a run."""
    main(["fit", *ARGUMENTS])
    return folder / "logs" / "tiny" / "version_0" / "checkpoints" / "last.ckpt"


@pytest.fixture
def changed(checkpoint: Path, tmp_path: Path) -> Callable[[dict[str, Any]], str]:
    """Writes the checkpoint with other values in its configuration, by key, and gives the option to use it."""

    def write(values: dict[str, Any]) -> str:
        content = torch.load(checkpoint, weights_only=True)
        for key, value in values.items():
            *parents, last = key.split(".")
            place = content["configuration"]
            for parent in parents:
                place = place[parent]
            place[last] = value
        torch.save(content, tmp_path / "changed.ckpt")
        return f"--ckpt_path={tmp_path / 'changed.ckpt'}"

    return write


Changed = Callable[[dict[str, Any]], str]


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
@pytest.mark.parametrize("settings_from", [["--settings_from=checkpoint"], []], ids=str)
def test_data_of_a_checkpoint_does_not_matter_where_nothing_is_learned(
    changed: Changed, command: str, settings_from: list[str]
) -> None:
    words = [command, *ARGUMENTS, *settings_from, "--predictions.overwrite=true"]
    main([*words, changed({"data": {"class_path": "gone.Data", "init_args": {"x": 1}}})])
    main([*words, changed({"data": "no class at all"})])


def test_moved_class_of_the_model_is_one_message_and_has_a_way_out(checkpoint: Path, changed: Changed) -> None:
    option = changed({"model.class_path": "models.old.Classifier"})
    with pytest.raises(
        InputError, match=r"it holds a models\.old\.Classifier.*moved or renamed.*settings_from=command"
    ):
        main(["validate", *ARGUMENTS, option])
    with pytest.raises(InputError, match=r"it holds a models\.old\.Classifier"):
        main(["validate", *ARGUMENTS, option, "--settings_from=checkpoint"])
    moved = main(["validate", *ARGUMENTS, option, "--settings_from=command"]).trainer.callback_metrics
    assert moved == main(["validate", *ARGUMENTS, f"--ckpt_path={checkpoint}"]).trainer.callback_metrics


def test_weights_that_do_not_fit_the_command_s_class_are_one_message(changed: Changed) -> None:
    option = changed({"model.class_path": "models.old.Classifier"})
    with pytest.raises(InputError, match=r"changed\.ckpt: its weights do not fit this command's model"):
        main(["validate", *ARGUMENTS, option, "--settings_from=command", "--model.width=2"])


def test_moved_classes_of_data_and_optimizer_are_differences_of_a_run_to_go_on_with(changed: Changed) -> None:
    option = changed({"data.class_path": "old.Images", "model.init_args.optimizer.class_path": "old.SGD"})
    with pytest.raises(InputError) as error:
        main(["fit", *ARGUMENTS, option])
    assert "\n  data: checkpoint 'old.Images', command 'tests.sextant.tiny.PointsData'" in str(error.value)
    assert "\n  model.optimizer: checkpoint 'old.SGD', command 'torch.optim.SGD'" in str(error.value)
    with pytest.raises(InputError, match=r"(?s)--data=old\.Images.*--settings_from=command") as error:
        main(["fit", *ARGUMENTS, option, "--settings_from=checkpoint"])
    assert "\n  --model.optimizer=old.SGD\n" in str(error.value)
    assert main(["fit", *ARGUMENTS, option, "--settings_from=command"]).trainer.global_step == 2


def test_position_in_renamed_data_is_kept(checkpoint: Path, tmp_path: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["OldImages"] = content.pop("PointsData")
    content["configuration"]["data"]["class_path"] = "old.OldImages"
    torch.save(content, tmp_path / "renamed.ckpt")
    option = f"--ckpt_path={tmp_path / 'renamed.ckpt'}"
    cli = main(["fit", *ARGUMENTS, option, "--settings_from=command", "--trainer.max_epochs=2"])
    assert cli.datamodule.state_dict() == {"epoch": 2, "done": []}
    assert cli.trainer.global_step == 4


CODE = {"class_path": "crafted_module.Run", "init_args": {}}


@pytest.fixture
def sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that is written where ``crafted_module`` is imported, which must not be."""
    sign = tmp_path / "was-imported"
    (tmp_path / "crafted_module.py").write_text(f"open({str(sign)!r}, 'w')\nclass Run: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield sign
    assert not sign.exists()
    assert "crafted_module" not in sys.modules


@pytest.mark.parametrize("settings_from", [["--settings_from=checkpoint"], []], ids=str)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.class_path", "crafted_module.Run"),
        ("data.class_path", "crafted_module.Run"),
        ("model.init_args.optimizer", CODE),
        ("model.init_args.optimizer", "crafted_module.Run"),
        ("model.init_args.scheduler", CODE),
        ("model.init_args.scheduler", "crafted_module.Run"),
        ("model.init_args.scheduler", "{class_path: crafted_module.Run}"),
        ("model.init_args.slope", CODE),
        ("model.init_args.unknown", [CODE]),
        ("trainer.precision", CODE),
    ],
)
def test_nothing_that_a_checkpoint_names_is_imported(
    changed: Changed, sign: Path, key: str, value: Any, settings_from: list[str]
) -> None:
    with pytest.raises(InputError, match="crafted_module"):
        main(["fit", *ARGUMENTS, changed({key: value}), *settings_from])


def test_command_s_own_settings_hold_whatever_a_checkpoint_names(changed: Changed, sign: Path) -> None:
    option = changed({"model.class_path": CODE["class_path"], "model.init_args.optimizer": CODE, "data": CODE})
    main(["fit", *ARGUMENTS, option, "--settings_from=command"])


def crafted(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    """A function as ``model.scheduler`` takes it."""
    raise AssertionError


def test_function_that_a_checkpoint_names_is_not_taken_though_it_is_there(changed: Changed) -> None:
    option = changed({"model.init_args.scheduler": f"{__name__}.crafted"})
    with pytest.raises(InputError, match=r"takes no function from it\. Give .*scheduler yourself"):
        main(["validate", *ARGUMENTS, option, "--settings_from=checkpoint"])


def test_class_that_a_checkpoint_names_in_a_text_is_not_taken_though_it_is_there(changed: Changed) -> None:
    text = "{class_path: torch.optim.lr_scheduler.ExponentialLR, init_args: {gamma: 0.5}}"
    option = changed({"model.init_args.scheduler": text})
    with pytest.raises(InputError, match=r"--model\.scheduler=torch\.optim\.lr_scheduler\.ExponentialLR"):
        main(["validate", *ARGUMENTS, option, "--settings_from=checkpoint"])


@pytest.mark.parametrize("values", [{"model": None}, {"model": {"class_path": 3}}, {"trainer": "x"}], ids=str)
def test_checkpoint_with_a_damaged_configuration_is_refused(changed: Changed, values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"changed\.ckpt: not a checkpoint of a run of train\.py"):
        main(["validate", *ARGUMENTS, changed(values)])
