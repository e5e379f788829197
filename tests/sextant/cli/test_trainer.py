"""What the commands of the Trainer are told reaches those that do it."""

import inspect
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from sextant.cli.trainer import SextantTrainer
from sextant.errors import InputError
from sextant.export.exporter import ExportSettings
from tests.sextant.tiny import Line, PointsData

#: Of the command ``export``; each is another one than where nothing is said.
OPTIONS: dict[str, Any] = {
    "format": "torch_export",
    "output": "model.pt2",
    "ckpt_path": "some.ckpt",
    "random_weights": True,
    "size": (8, 16),
    "preprocessing": "normalize",
    "argmax": True,
    "int8": True,
    "int8_agreement": 0.5,
    "calibration_samples": 3,
    "samples": 5,
    "overwrite": True,
}


def test_no_option_of_an_export_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[ExportSettings] = []

    class Hears:
        """In place of what exports."""

        def __init__(self, *given: Any) -> None:
            heard.append(given[-1])

        def run(self) -> None:
            """Nothing is exported."""

    parameters = inspect.signature(SextantTrainer.export).parameters
    assert list(parameters) == ["self", "model", "datamodule", *OPTIONS]
    assert not [name for name, value in OPTIONS.items() if value == parameters[name].default]
    monkeypatch.setattr("sextant.export.exporter.Exporter", Hears)
    trainer = SextantTrainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.export(Line(torch.optim.SGD), PointsData(), **OPTIONS)
    expected = {("checkpoint" if name == "ckpt_path" else name): value for name, value in OPTIONS.items()}
    assert asdict(*heard) == expected | {"output": Path("model.pt2")}


@pytest.mark.parametrize("name", ["TorchRecStrategy", "torchrecstrategy", "DDP"])
def test_strategy_is_found_by_its_name_in_any_case(name: str) -> None:
    trainer = SextantTrainer(accelerator="cpu", devices=1, logger=False, strategy=name)
    assert type(trainer.strategy).__name__.lower() in (name.lower(), f"{name.lower()}strategy")


@pytest.mark.parametrize(("name", "near"), [("ddp_spwan", "ddp_spawn"), ("TorchRecStrategi", "TorchRecStrategy")])
def test_strategy_that_is_misspelt_is_named_with_the_nearest_one(name: str, near: str) -> None:
    with pytest.raises(InputError, match=rf"strategy is {name}, and there is no such one\. Did you mean {near}\? The"):
        SextantTrainer(accelerator="cpu", logger=False, strategy=name)
