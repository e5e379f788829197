"""The table of a model's layers."""

import logging
from pathlib import Path

import pytest
import torch
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


def table(caplog: pytest.LogCaptureFixture, folder: Path, example: torch.Tensor | None) -> list[str]:
    with caplog.at_level(logging.INFO, logger="lightning.pytorch"):
        trainer(folder, ModelTable(), enable_model_summary=True).fit(Layered(example), loader())
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
