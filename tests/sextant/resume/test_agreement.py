"""What a checkpoint and the command that uses it must agree on."""

from pathlib import Path
from typing import Any

import pytest

from sextant.errors import InputError
from sextant.resume.agreement import (
    check_agreement,
    check_classes,
    check_model_class,
    configuration_of,
    with_other_data,
)
from sextant.resume.run_configuration import KEY

PATH = Path("a.ckpt")
MODEL = {"class_path": "modules.Model", "init_args": {"optimizer": {"class_path": "torch.optim.SGD"}, "width": 1}}


def changed(**settings: Any) -> dict[str, Any]:
    return {"model": MODEL | {"init_args": MODEL["init_args"] | settings}}  # type: ignore[operator]


def test_equal_settings_agree() -> None:
    check_agreement(PATH, changed(), changed())
    check_classes(PATH, changed(), changed())
    check_model_class(PATH, "modules.Model", "modules.Model")


def test_difference_is_said_with_both_values_and_both_ways_out() -> None:
    with pytest.raises(InputError, match=r"(?s)a\.ckpt: .*model\.width: checkpoint 2, command 1\n") as error:
        check_agreement(PATH, changed(width=2), changed())
    assert "--settings_from=checkpoint or --settings_from=command" in str(error.value)


def test_class_of_a_checkpoint_alone_is_no_way_out() -> None:
    with pytest.raises(InputError, match=r"checkpoint 'old\.SGD', command 'torch\.optim\.SGD'") as error:
        check_agreement(PATH, changed(optimizer={"class_path": "old.SGD"}), changed())
    assert "--settings_from=checkpoint" not in str(error.value)
    assert "--settings_from=command" in str(error.value)


def test_classes_that_are_not_the_command_s_are_listed_as_its_options() -> None:
    with pytest.raises(InputError, match=r"(?s)\n  --model\.optimizer=old\.SGD\n.*--settings_from=command"):
        check_classes(PATH, changed(optimizer={"class_path": "old.SGD"}), changed())
    check_classes(PATH, changed(width=7), changed())


def test_model_of_another_class_is_refused_with_both_names() -> None:
    with pytest.raises(InputError, match=r"holds a old\.Model, and this command has a modules\.Model"):
        check_model_class(PATH, "old.Model", "modules.Model")


@pytest.mark.parametrize(
    "configuration",
    [None, "text", {}, {"trainer": {}, "model": {}}, {"trainer": {}, "model": {"class_path": 1}}, {"model": MODEL}],
)
def test_checkpoint_without_the_configuration_of_a_run_is_refused(configuration: Any) -> None:
    with pytest.raises(InputError, match="not a checkpoint of a run"):
        configuration_of(PATH, {"global_step": 1, KEY: configuration}, ["model"])


def test_data_part_is_looked_at_only_where_it_is_asked_for() -> None:
    configuration = {"trainer": {}, "model": MODEL, "data": 3}
    checkpoint = {"global_step": 1, KEY: configuration}
    assert configuration_of(PATH, checkpoint, ["model"]) == configuration
    with pytest.raises(InputError):
        configuration_of(PATH, checkpoint, ["model", "data"])


def test_settings_of_other_data_are_explained_by_its_class() -> None:
    error, path = InputError("data.columns: there is no such setting."), Path("logs/a/version_0/checkpoints/best.ckpt")
    old, new = ({"data": {"class_path": name}} for name in ("datamodules.ClickLog", "datamodules.Criteo"))
    assert with_other_data(path, old, old, error) is error
    assert with_other_data(path, {}, new, error) is error
    said = str(with_other_data(path, old, new, error))
    assert "trained with --data=datamodules.ClickLog, and this command has datamodules.Criteo" in said
    assert "--config=logs/a/version_0/config.yaml" in said
