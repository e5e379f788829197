"""The formats of exported files, one a file."""

from export.formats.executorch import ExecuTorch
from export.formats.format import Format
from export.formats.onnx import Onnx
from export.formats.torch_export import TorchExport
from export.formats.torchscript import TorchScript

FORMATS: dict[str, Format] = {
    "torchscript": TorchScript(),
    "torch_export": TorchExport(),
    "onnx": Onnx(),
    "executorch": ExecuTorch(),
}
