"""The table of a model's layers."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import nn
from torchmetrics import MeanMetric, MetricCollection

from callbacks.terminal.model_table import ModelTable
from tests.callbacks.small_run import Plain, loader, trainer


class Layered(Plain):
    """It has metrics, a layer without parameters, and one that is all of what it is in."""

    def __init__(self, example: torch.Tensor | None) -> None:
        super().__init__()
        self.metrics = MetricCollection({"loss": MeanMetric()})
        self.body = nn.Sequential(nn.Sequential(nn.Linear(12288, 20)), nn.ReLU())
        self.body.requires_grad_(False)
        self.example_input_array = example

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.linear(image.flatten(1)) + self.body(image.flatten(1))[:, :10]


def table(caplog: pytest.LogCaptureFixture, folder: Path, example: torch.Tensor | None, **settings: Any) -> list[str]:
    with caplog.at_level(logging.INFO, logger="lightning.pytorch"):
        trainer(folder, ModelTable(), enable_model_summary=True, **settings).fit(Layered(example), loader())
    (message,) = (record.getMessage() for record in caplog.records if "Layered" in record.getMessage())
    return message.splitlines()


def test_flops_are_those_of_one_sample(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    about, size, head, *rows = table(caplog, tmp_path, torch.zeros(2, 3, 64, 64))
    assert about == "Layered: 369 k parameters, 123 k of them trained, 737 k FLOPs for an input of"
    assert size == "  shape (3, 64, 64)"  # a line has 80 characters at most
    assert head.split() == ["layer", "type", "parameters", "FLOPs"]
    assert [row.split() for row in rows] == [
        ["linear", "Linear", "123", "k", "246", "k"],  # 2 x 12,288 x 10
        ["body", "Sequential", "246", "k", "492", "k"],
    ]


def test_without_an_example_there_are_the_parameters(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    about, head, *rows = table(caplog, tmp_path, None)
    assert about == "Layered: 369 k parameters, 123 k of them trained"
    assert head.split() == ["layer", "type", "parameters"]
    assert [row.split()[0] for row in rows] == ["linear", "body"]


class OfManyProcesses(SingleDeviceStrategy):
    """It has a part of one parameter, and nothing of another."""

    def whole_parameters(self) -> dict[str, int]:
        return {"linear.weight": 1_000_000, "body.rows": 2_000_000}


def test_parameters_that_are_split_over_the_processes_count_as_a_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    about, _, *rows = table(caplog, tmp_path, None, strategy=OfManyProcesses("cpu"))
    assert about == "Layered: 3.25 M parameters, 3 M of them trained"
    assert [row.split()[::2] for row in rows] == [["linear", "1"], ["body", "2.25"], ["body.0", "246"]]
