"""An export from beginning to end, of a module of one layer."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from typing_extensions import override

from sextant.errors import InputError
from sextant.export.exporter import Exporter, ExportSettings
from sextant.export.formats import FORMATS
from sextant.export.formats.torch_export import TorchExport
from sextant.export.graph import BATCH, AboveZero, ExportGraph, GraphInput
from tests.datamodules.recorder import bare_trainer
from tests.sextant.tiny import Line, PointsData


class ExportedLine(Line):
    """A line that can be exported."""

    def __init__(self) -> None:
        super().__init__(torch.optim.SGD)
        self.read: list[float] = []  # what the file was compared on

    def inputs(self, batch: dict[str, Tensor]) -> tuple[Tensor, ...]:
        self.read += batch["x"].tolist()
        return (batch["x"][:, None],)

    def export_graph(self) -> ExportGraph:
        return ExportGraph(
            network=self.network,
            inputs=(GraphInput("x", (BATCH, 1)),),
            outputs=("y",),
            read=self.inputs,
            decide=AboveZero(),
        )


class AugmentedData(PointsData):
    """Points that are moved far away for the training."""

    @override
    def transform(self, batch: dict[str, Tensor], training: bool) -> dict[str, Tensor]:
        return batch | {"x": batch["x"] + 100 * training}


def export(folder: Path, model: LightningModule, data: type[PointsData] = PointsData, **settings: Any) -> Path:
    """Export a model, and give the file."""
    options: dict[str, Any] = {
        "format": "torch_export",
        "output": folder / "line.pt2",
        "random_weights": True,
    } | settings
    trainer = bare_trainer(folder, limit_val_batches=2)
    Exporter(trainer, model, data(), ExportSettings(**options)).run()
    assert trainer.limit_val_batches == 2, "what is measured later would be measured on nothing"
    return folder / "line.pt2"


def test_exported_file_gives_what_the_model_gives_and_is_described(tmp_path: Path) -> None:
    model = ExportedLine()
    with pytest.warns(UserWarning, match="RANDOM WEIGHTS"):
        file = export(tmp_path, model)
    x = torch.rand(5, 1)
    assert torch.allclose(FORMATS["torch_export"].load(file)((x,))[0], model.network(x))
    about = json.loads(Path(f"{file}.json").read_text())
    assert about["model"] == f"{__name__}.ExportedLine"
    assert about["random_weights"]
    assert about["measured"]["samples"] == 8
    assert about["measured"]["agreement"] == 1


def test_file_is_run_on_samples_as_they_come_to_a_trained_model(tmp_path: Path) -> None:
    model = ExportedLine()
    export(tmp_path, model, AugmentedData)
    assert model.read == [i / 8 for i in range(8)]


def test_model_without_a_graph_is_refused_with_its_name(tmp_path: Path) -> None:
    model = Line(torch.optim.SGD)
    with pytest.raises(InputError, match="Line cannot be exported: it has no export_graph"):
        export(tmp_path, model)
    assert not list(tmp_path.glob("*line*"))


def test_file_that_decides_otherwise_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Reversed(TorchExport):
        @override
        def load(self, path: Path) -> Any:
            run = super().load(path)

            def reversed_run(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
                return tuple(-output for output in run(inputs))

            return reversed_run

    monkeypatch.setitem(FORMATS, "torch_export", Reversed())
    with pytest.raises(InputError, match="no file was written"):
        export(tmp_path, ExportedLine())
    assert not list(tmp_path.glob("*line*"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"format": "onnx", "int8": True}, "onnx files hold floats only"),
        ({"format": "torch_export", "calibration_samples": 3}, "nothing is calibrated without it"),
        ({"format": "executorch", "preprocessing": "resize"}, "takes images of one size"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ExportSettings(output=Path("x"), **settings)


@pytest.mark.parametrize("settings", [{"size": (4, 4)}, {"argmax": True}, {"preprocessing": "normalize"}], ids=str)
def test_options_of_images_are_refused_for_other_models(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="for models that read an image alone; ExportedLine does not"):
        export(tmp_path, ExportedLine(), **settings)
