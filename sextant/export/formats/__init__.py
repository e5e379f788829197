"""The formats of exported files, one a file."""

from sextant.export.formats.executorch import ExecuTorch
from sextant.export.formats.format import Format
from sextant.export.formats.onnx import Onnx
from sextant.export.formats.torch_export import TorchExport
from sextant.export.formats.torchscript import TorchScript

FORMATS: dict[str, Format] = {
    "torchscript": TorchScript(),
    "torch_export": TorchExport(),
    "onnx": Onnx(),
    "executorch": ExecuTorch(),
}
