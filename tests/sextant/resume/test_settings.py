"""Which settings decide what is learned, and in which of them two configurations differ."""

import sys
from typing import Any, ClassVar

import pytest

from sextant.resume.settings import differences, free_settings, learning_settings, model_settings, other_classes


class Model:
    free_settings: ClassVar[frozenset[str]] = frozenset({"note"})


class Data:
    free_settings: ClassVar[frozenset[str]] = frozenset({"root", "prediction", "files.predict"})


def configuration(model: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Of a command with the classes above."""
    return {
        "seed_everything": 3,
        "trainer": {"max_epochs": 2, "devices": 8},
        "model": {"class_path": f"{__name__}.Model", "init_args": model},
        "data": {"class_path": f"{__name__}.Data", "init_args": data},
    }


def test_free_settings_are_left_out_also_of_a_group_and_nothing_else_is() -> None:
    settings = {
        "root": "data",
        "prediction": {"image": "a.jpg"},
        "files": {"train": ["a"], "predict": "b"},
        "predict": 1,
        "mirrors": {"root": "c"},
    }
    whole = configuration({"note": "x", "width": 2}, settings)
    learned = learning_settings(whole, free_settings(whole))
    assert learned["data"]["init_args"] == {"files": {"train": ["a"]}, "predict": 1, "mirrors": {"root": "c"}}
    assert settings["files"] == {"train": ["a"], "predict": "b"}
    assert learned["model"]["init_args"] == {"width": 2}
    assert learned["trainer"] == {"max_epochs": 2}
    assert learned["seed_everything"] == 3
    assert model_settings(whole, free_settings(whole)) == {"model": learned["model"]}


def test_group_that_is_not_given_stays_as_it_is() -> None:
    whole = configuration({}, {"files": None})
    assert learning_settings(whole, free_settings(whole))["data"]["init_args"] == {"files": None}


def test_free_settings_of_a_class_that_is_not_imported_are_none() -> None:
    whole = configuration({}, {}) | {"model": {"class_path": "antigravity.Model"}}
    assert free_settings(whole)["model"] == frozenset()
    assert "antigravity" not in sys.modules


def test_differences_have_the_keys_of_the_command_line() -> None:
    old = configuration({"optimizer": {"class_path": "A", "init_args": {"lr": 1}}, "width": 1}, {"size": {"x": 1}})
    new = configuration({"optimizer": {"class_path": "A", "init_args": {"lr": 2}}, "depth": 1}, {"size": {"x": 1}})
    assert set(differences(old, new)) == {
        ("model.optimizer.lr", 1, 2),
        ("model.width", 1, None),
        ("model.depth", None, 1),
    }


def test_of_objects_of_different_classes_the_classes_are_the_difference() -> None:
    old = {"model": {"class_path": "A", "init_args": {"lr": 1}}}
    new = {"model": {"class_path": "B", "init_args": {"lr": 2}}}
    assert list(differences(old, new)) == [("model", "A", "B")]


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ({"model": {"class_path": "A"}}, {"model": {"class_path": "A"}}, []),
        ({"model": {"class_path": "A"}}, {"model": {"class_path": "B"}}, [("model", "A")]),
        ({"model": {"class_path": "A"}}, {"model": None}, [("model", "A")]),
        ({"model": "A"}, {"model": {"class_path": "A"}}, [("model", "A")]),
        ({"model": "some text"}, {"model": "another"}, []),
        (
            {"model": {"class_path": "A", "init_args": {"optimizer": {"class_path": "O"}}}},
            {"model": {"class_path": "A", "init_args": {}}},
            [("model.optimizer", "O")],
        ),
        ({"data": [{"class_path": "A"}, {"class_path": "B"}]}, {"data": [{"class_path": "A"}]}, [("data.1", "B")]),
    ],
)
def test_classes_that_only_one_configuration_names_are_found(
    old: dict[str, Any], new: dict[str, Any], found: list[tuple[str, str]]
) -> None:
    assert list(other_classes(old, new)) == found
