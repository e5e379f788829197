"""Which settings decide what is learned."""

from typing import ClassVar

from sextant.resume.settings import without_free_settings


class Data:
    free_settings: ClassVar[frozenset[str]] = frozenset({"root", "prediction", "files.predict"})


def test_free_settings_are_left_out_also_of_a_group_and_nothing_else_is() -> None:
    settings = {
        "root": "data",
        "prediction": {"image": "a.jpg"},
        "files": {"train": ["a"], "predict": "b"},
        "predict": 1,
        "mirrors": {"root": "c"},
    }
    part = {"class_path": f"{__name__}.Data", "init_args": settings}
    assert without_free_settings(part)["init_args"] == {
        "files": {"train": ["a"]},
        "predict": 1,
        "mirrors": {"root": "c"},
    }
    assert settings["files"] == {"train": ["a"], "predict": "b"}


def test_group_that_is_not_given_stays_as_it_is() -> None:
    part = {"class_path": f"{__name__}.Data", "init_args": {"files": None}}
    assert without_free_settings(part)["init_args"] == {"files": None}
