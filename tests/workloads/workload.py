"""The workloads of a folder of configurations, and how each is made small for tests."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from pkgutil import resolve_name
from string import Template
from typing import Any

import yaml

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SMALL = Path(__file__).resolve().parent / "small"


@dataclass(frozen=True)
class Workload:
    """A configuration by which a model is trained.

    Args:
        config: its file.
    """

    config: Path

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What the file says."""
        return yaml.safe_load(self.config.read_text(encoding="utf-8"))

    @property
    def name(self) -> str:
        return self.config.stem

    @property
    def data(self) -> str:
        """The class of the DataModule."""
        return self.settings["data"]["class_path"]

    @property
    def model(self) -> str:
        """The class of the model."""
        return self.settings["model"]["class_path"]

    @property
    def log_name(self) -> str:
        """The folder of its runs on small data."""
        generated = not self._overlay.exists() and "synthetic" in self._data_settings()
        return self.settings["name"] + "-synthetic" * generated

    def callbacks(self) -> set[str]:
        """The classes of the callbacks that it adds to the shared Trainer's, by the modules that define them."""
        given = self.settings["trainer"].get("callbacks+", [])
        paths = [callback if isinstance(callback, str) else callback["class_path"] for callback in given]
        return {f"{(kind := resolve_name(path)).__module__}.{kind.__qualname__}" for path in paths}

    def small(self, place: Callable[[str], Path]) -> list[str]:
        """The configuration that makes the workload small, to be put on top of its own, and what predicting adds to it.

        They are the YAML documents of the DataModule's file in the folder ``small``, where ``$name`` stands for the
        folder that the fixture ``name`` makes. A DataModule that has none there runs on its synthetic data as it is.

        Args:
            place: gives the folder of a fixture.
        """
        if self._overlay.exists():
            template = Template(self._overlay.read_text(encoding="utf-8"))
            text = template.substitute({name: place(name) for name in template.get_identifiers()})
            return text.split("---\n")
        settings = {"synthetic": True, "cache": str(place("cache"))}
        taken = {key: value for key, value in settings.items() if key in self._data_settings()}
        return [yaml.safe_dump({"data": {"init_args": taken}})]

    @property
    def _overlay(self) -> Path:
        return SMALL / f"{self.data.split('.')[-2]}.yaml"

    def _data_settings(self) -> set[str]:
        return set(inspect.signature(resolve_name(self.data)).parameters)

    def write_small(self, place: Callable[[str], Path], folder: Path, predicting: bool = False) -> list[str]:
        """Write the configurations that make the workload small, and give the arguments of a command that takes them.

        Args:
            place: gives the folder of a fixture.
            folder: where to.
            predicting: whether the command predicts.
        """
        overlays = []
        for number, text in enumerate(self.small(place)):
            overlays.append(folder / f"{self.name}.{number}.yaml")
            overlays[-1].write_text(text, encoding="utf-8")
        return [f"--config={file}" for file in (self.config, *overlays[: None if predicting else 1])]


def workloads(configs: Path = CONFIGS) -> list[Workload]:
    """All workloads of a folder: its YAML files but the shared Trainer's."""
    return [Workload(file) for file in sorted(configs.glob("*.yaml")) if file.name != "trainer.yaml"]
