"""Which settings decide what is learned, and in which of them two configurations differ."""

import sys
from typing import Any, ClassVar

import pytest
from lightning.pytorch import Callback

from sextant.contracts import Observer
from sextant.resume.checkpoint_io import AtomicCheckpointIO
from sextant.resume.settings import (
    FREE_TRAINER_SETTINGS,
    differences,
    free_settings,
    learning_settings,
    model_settings,
    other_classes,
    settings_to_take,
)


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
    kept = learning_settings(whole, free_settings(whole))
    assert kept["data"]["init_args"] == {"files": {"train": ["a"]}, "predict": 1, "mirrors": {"root": "c"}}
    assert settings["files"] == {"train": ["a"], "predict": "b"}
    assert kept["model"]["init_args"] == {"width": 2}
    assert kept["trainer"] == {"max_epochs": 2, "callbacks": {}, "plugins": {}}
    assert kept["seed_everything"] == 3
    assert model_settings(whole, free_settings(whole)) == {"model": kept["model"]}


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


class Watches(Observer):
    """Changes nothing."""


class Changes(Callback):
    """May change something."""


def callback(kind: type, **settings: Any) -> dict[str, Any]:
    return {"class_path": f"{__name__}.{kind.__name__}", "init_args": settings}


def with_trainer(**trainer: Any) -> dict[str, Any]:
    whole = configuration({}, {})
    return whole | {"trainer": trainer}


def learned(whole: dict[str, Any]) -> dict[str, Any]:
    return learning_settings(whole, free_settings(whole))


@pytest.mark.parametrize(
    ("setting", "old", "new"),
    [
        ("val_check_interval", 1.0, 0.5),
        ("limit_val_batches", 1.0, 2),
        ("check_val_every_n_epoch", 1, 2),
        ("sync_batchnorm", False, True),
        ("a_setting_of_the_next_lightning", None, 1),
    ],
)
def test_setting_of_the_trainer_counts_unless_it_is_known_to_be_free(setting: str, old: Any, new: Any) -> None:
    found = differences(learned(with_trainer(**{setting: old})), learned(with_trainer(**{setting: new})))
    assert list(found) == [(f"trainer.{setting}", old, new)]


def test_free_settings_of_the_trainer_do_not_count() -> None:
    old, new = (dict.fromkeys(FREE_TRAINER_SETTINGS, value) for value in (1, 2))
    assert learned(with_trainer(**old)) == learned(with_trainer(**new))


def test_setting_that_only_one_side_has_counts() -> None:
    old, new = learned(with_trainer(max_steps=3)), learned(with_trainer())
    assert list(differences(old, new)) == [("trainer.max_steps", 3, None)]
    assert list(differences(new, old)) == [("trainer.max_steps", None, 3)]


def test_callbacks_are_compared_by_their_classes_but_those_that_only_watch() -> None:
    old = learned(with_trainer(callbacks=[callback(Watches, count=1), callback(Changes, decay=0.9)]))
    new = learned(with_trainer(callbacks=[callback(Changes, decay=0.8), callback(Watches, count=2)]))
    assert list(differences(old, new)) == [("trainer.callbacks.Changes.decay", 0.9, 0.8)]
    without = learned(with_trainer(callbacks=None))
    assert list(differences(old, without)) == [
        ("trainer.callbacks.Changes", callback(Changes, decay=0.9), None),
    ]


def test_second_callback_of_a_class_is_compared_with_the_second_one() -> None:
    old = learned(with_trainer(callbacks=[callback(Changes, decay=0.9), callback(Changes, decay=0.8)]))
    new = learned(with_trainer(callbacks=[callback(Changes, decay=0.9), callback(Changes, decay=0.7)]))
    assert list(differences(old, new)) == [("trainer.callbacks.Changes#2.decay", 0.8, 0.7)]


def test_plugin_counts_unless_it_only_writes_files() -> None:
    files = {"class_path": f"{AtomicCheckpointIO.__module__}.{AtomicCheckpointIO.__qualname__}"}
    precision = {"class_path": "lightning.pytorch.plugins.MixedPrecision", "init_args": {"device": "cuda"}}
    other = {**precision, "init_args": {"device": "cpu"}}
    old = learned(with_trainer(plugins=[files, precision]))
    assert old == learned(with_trainer(plugins=precision))
    found = list(differences(old, learned(with_trainer(plugins=[other]))))
    assert found == [("trainer.plugins.MixedPrecision.device", "cuda", "cpu")]


def test_group_of_a_callback_counts_unless_it_only_watches() -> None:
    old = configuration({}, {}) | {"watching": callback(Watches, count=1), "changing": callback(Changes, decay=1)}
    new = configuration({}, {}) | {"watching": None, "changing": None}
    assert list(differences(learned(old), learned(new))) == [("changing", callback(Changes, decay=1), None)]


def test_what_is_called_best_counts_and_where_it_is_does_not() -> None:
    old, new = ({"best_checkpoint": {"monitor": name, "dirpath": name}} for name in ("val/loss", "val/accuracy"))
    found = differences(learned(configuration({}, {}) | old), learned(configuration({}, {}) | new))
    assert list(found) == [("best_checkpoint.monitor", "val/loss", "val/accuracy")]


def test_taken_settings_leave_the_callbacks_that_watch_as_the_command_has_them() -> None:
    old = learned(with_trainer(callbacks=[callback(Watches, count=1), callback(Changes, decay=0.9)], plugins=None))
    command = with_trainer(callbacks=[callback(Changes, decay=0.8), callback(Watches, count=2)], plugins=None)
    taken = settings_to_take(old, command)["trainer"]
    assert taken == {"callbacks": [callback(Watches, count=2), callback(Changes, decay=0.9)], "plugins": None}


def test_mappings_differ_where_their_keys_are_in_another_order() -> None:
    """The order of columns is that of a model's inputs."""
    old, new = {"columns": {"a": 1, "b": 1}}, {"columns": {"b": 1, "a": 1}}
    assert list(differences(old, new)) == [("columns", ["a", "b"], ["b", "a"])]


def test_settings_of_the_data_that_are_kept_with_the_model_are_those_with_a_meaning() -> None:
    whole = configuration({}, {"files": {"train": ["a"], "predict": "b"}, "columns": {"dense": ["x"]}, "size": 3})
    meaning = frozenset({"columns", "files"})
    kept = model_settings(whole, free_settings(whole), meaning)["data"]
    assert kept == {"init_args": {"files": {"train": ["a"]}, "columns": {"dense": ["x"]}}}
    assert "data" not in model_settings(whole | {"data": None}, free_settings(whole), meaning)
