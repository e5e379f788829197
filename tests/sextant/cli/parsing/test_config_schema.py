"""The JSON schema of the configurations."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from train import main

CONFIGS = Path(__file__).resolve().parents[4] / "configs"
SCHEMA = CONFIGS / "schema.json"


def mistakes(configuration: str) -> list[str]:
    validator: Any = Draft202012Validator(json.loads(SCHEMA.read_text()))
    return [error.json_path for error in validator.iter_errors(yaml.safe_load(configuration))]


def test_schema_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--print_schema"])
    printed = capsys.readouterr().out
    Draft202012Validator.check_schema(json.loads(printed))
    assert printed == SCHEMA.read_text(), "run: make schema"


@pytest.mark.parametrize("file", sorted(CONFIGS.rglob("*.yaml")), ids=lambda file: str(file.relative_to(CONFIGS)))
def test_configuration_names_its_schema_and_fits_it(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    named = re.match(r"# yaml-language-server: \$schema=(.*)\n", text)
    assert named is not None
    assert (file.parent / named[1]).resolve() == SCHEMA
    assert mistakes(text) == []


RESNET = "model: {class_path: modules.resnet.ImageClassifier, init_args: "


@pytest.mark.parametrize(
    ("configuration", "where"),
    [
        ("nam: x", "$"),
        ("trainer: {max_epoch: 3}", "$.trainer"),
        ("trainer: {max_epochs: many}", "$.trainer.max_epochs"),
        ("trainer: {callbacks+: [{class_path: callbacks.throughput.Throughput, init_args: {x: 1}}]}", "$.trainer"),
        ("data: {class_path: datamodules.tiny_imagenet.TinyImageNet, init_args: {batchsize: 3}}", "$.data"),
        ("model: {init_args: {optimizer: {class_path: torch.optim.SGD, init_args: {rate: 3}}}}", "$.model"),
        (RESNET + "{depth: 19}}", "$.model"),
        (RESNET + "{scheduler: {class_path: sextant.optimization.WarmupCosine, init_args: {x: 3}}}}", "$.model"),
        ("segmentations: {colours: voc}", "$.segmentations"),
    ],
)
def test_mistake_is_found_where_it_is(configuration: str, where: str) -> None:
    found = mistakes(configuration)
    assert len(found) == 1
    assert found[0].startswith(where)


@pytest.mark.parametrize(
    "configuration",
    [
        "model: {class_path: mine.Model, init_args: {x: 1}}",
        "trainer: {logger: {class_path: lightning.pytorch.loggers.WandbLogger, init_args: {offline: true}}}",
        "model: {init_args: {optimizer: {class_path: torch.optim.Lion, init_args: {lr: 1.0e-4}}}}",
        "data: {init_args: {batch_size: 3}}",
        "segmentations: {}",
    ],
)
def test_classes_of_others_and_parts_are_no_mistake(configuration: str) -> None:
    assert mistakes(configuration) == []
