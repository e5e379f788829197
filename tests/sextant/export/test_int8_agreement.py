"""How far a quantized file may be from its model."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy
from typing_extensions import override

from sextant.datamodule import BaseDataModule
from sextant.errors import InputError
from sextant.export.exporter import Exporter, ExportSettings
from sextant.export.graph import ExportGraph
from sextant.loaders import TimedDataLoader
from sextant.module import BaseModule
from tests.datamodules.recorder import bare_trainer
from tests.sextant.export.graphs import MEAN, NAMES, STD, classifier

pytestmark = pytest.mark.filterwarnings("ignore")  # RANDOM WEIGHTS, and few samples to calibrate on


class Images(Dataset):
    """Ten images, each brighter than the one before."""

    def __len__(self) -> int:
        return 10

    @override
    def __getitem__(self, indices: list[int]) -> dict[str, Tensor]:
        index = torch.tensor(indices)
        noise = torch.rand(10, 3, 24, 20, generator=torch.Generator().manual_seed(0))
        return {"index": index, "image": noise[index] + index[:, None, None, None], "label": index % len(NAMES)}


class ImagesData(BaseDataModule):
    """The same images for all splits."""

    normalization = (MEAN, STD)
    batch_size = 5

    @override
    def train_dataloader(self) -> TimedDataLoader:
        return self.loader(Images(), training=True)

    @override
    def val_dataloader(self) -> TimedDataLoader:
        return self.loader(Images())


class AugmentedImages(ImagesData):
    """Images that are turned black for the training."""

    @override
    def transform(self, batch: dict[str, Tensor], training: bool) -> dict[str, Tensor]:
        return batch | {"image": batch["image"] * (not training)}


class Model(BaseModule):
    """A classifier that can be exported."""

    def __init__(self) -> None:
        super().__init__(torch.optim.SGD, None)
        self.graph = classifier()
        self.add_metrics({"accuracy": MulticlassAccuracy(len(NAMES))}, splits=("val",))

    @override
    def forward(self, image: Tensor) -> Tensor:
        return self.graph.network(image)

    @override
    def step(self, batch: dict[str, Tensor], metrics: MetricCollection) -> dict[str, Tensor]:
        scores = self(batch["image"])
        metrics["accuracy"].update(scores, batch["label"])
        return {"loss": scores.mean()}

    def export_graph(self) -> ExportGraph:
        return self.graph


class WrongInTheBrightest(nn.Module):
    """A network that decides otherwise for the last of the images."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @override
    def forward(self, image: Tensor) -> Tensor:
        scores = self.network(image)
        return torch.where(image.mean((1, 2, 3))[:, None] > 9, scores.roll(1, 1), scores)


def export(folder: Path, monkeypatch: pytest.MonkeyPatch, **least: Any) -> Path:
    """Export with a quantization after which nine of ten decisions are as before."""

    def quantize(graph: ExportGraph, *_: Any) -> ExportGraph:
        return replace(graph, network=WrongInTheBrightest(graph.network))

    monkeypatch.setattr("sextant.export.exporter.quantize", quantize)
    settings = ExportSettings(
        "torch_export", folder / "model.pt2", random_weights=True, int8=True, calibration_samples=4, **least
    )
    Exporter(bare_trainer(folder), Model(), ImagesData(0, 0), settings).run()
    return folder / "model.pt2"


def test_file_that_decides_as_often_alike_as_was_asked_for_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = export(tmp_path, monkeypatch, int8_agreement=0.9)
    measured = json.loads(Path(f"{file}.json").read_text())["measured"]
    assert (measured["decisions"], measured["agreement"]) == (10, 0.9)
    assert {"val/accuracy_float", "val/accuracy_int8"} <= measured.keys()


def test_file_that_decides_less_often_alike_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"90\.000% of 10 decisions, which is less than 95\.000%.*--int8_agreement"):
        export(tmp_path, monkeypatch)
    assert not list(tmp_path.glob("*model*"))


def test_quantized_model_is_calibrated_on_samples_as_they_come_to_a_trained_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrated_on: list[Tensor] = []

    def quantize(graph: ExportGraph, examples: Sequence[tuple[Tensor, ...]], progress: bool) -> ExportGraph:
        calibrated_on.extend(image for images, *_ in examples for image in images)
        return graph

    monkeypatch.setattr("sextant.export.exporter.quantize", quantize)
    settings = ExportSettings(
        "torch_export", tmp_path / "model.pt2", random_weights=True, int8=True, calibration_samples=10
    )
    Exporter(bare_trainer(tmp_path), Model(), AugmentedImages(0, 0), settings).run()
    brightness = [image.mean().item() for image in Images()[list(range(10))]["image"]]
    assert sorted(image.mean().item() for image in calibrated_on) == pytest.approx(brightness)
