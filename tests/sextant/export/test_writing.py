"""Errors that say what a format lacks, and nothing of a traceback."""

import errno
import importlib.util
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sextant.errors import InputError
from sextant.export.exported_file import ExportedFile
from sextant.export.formats import FORMATS
from sextant.export.graph import BATCH, ArgMax, Axis, ExportGraph, GraphInput
from sextant.export.writing import need_libraries, operation_in, write_and_load
from tests.sextant.export.graphs import numbers


class Branching(nn.Module):
    """What is computed depends on the numbers themselves."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 1 if float(x.sum()) > 0 else x * 2


class Eigenvalues(nn.Module):
    """An operation that PyTorch has, and other runtimes have not."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.eigvals(x[:, :, None] * x[:, None, :]).real


class Plain(nn.Module):
    """What every format holds."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_missing_libraries_are_named_with_the_command_that_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("onnx", "torchao") else found(name))
    need_libraries("torch", "onnxruntime")
    with pytest.raises(InputError, match=r"needs onnx, torchao, .*uv run --extra export train\.py export"):
        need_libraries("torch", "onnx", "torchao")


@pytest.mark.parametrize(
    ("format", "network", "named"),
    [
        ("torch_export", Branching(), "data-dependent"),
        ("onnx", Branching(), "data-dependent"),
        pytest.param("executorch", Branching(), "data-dependent", marks=pytest.mark.slow),
        ("onnx", Eigenvalues(), "linalg_eig"),
        pytest.param("executorch", Eigenvalues(), "linalg_eig", marks=pytest.mark.slow),
    ],
)
def test_operation_that_a_format_cannot_hold_is_named(
    format: str, network: nn.Module, named: str, tmp_path: Path
) -> None:
    file = ExportedFile(tmp_path / f"x{FORMATS[format].suffix}", FORMATS[format].suffix, overwrite=False)
    with pytest.raises(InputError) as error, file.unfinished() as part:
        write_and_load(FORMATS[format], format, numbers(network), part)
    assert str(error.value).startswith(f"{format} cannot hold this model: ")
    assert named in str(error.value)
    assert len(str(error.value)) < 600
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "format", [pytest.param(name, marks=[pytest.mark.slow] * (name == "executorch")) for name in FORMATS]
)
def test_file_is_written_and_gives_what_the_network_gives(format: str, tmp_path: Path) -> None:
    kind = FORMATS[format]
    run = write_and_load(kind, format, numbers(Plain()), tmp_path / f"x{kind.suffix}")
    x = torch.randn(2, 5)
    (given,) = run((x,))
    run((torch.zeros(2, 5),))
    assert torch.allclose(given, 2 * x), "it is not what a later run gives"


def test_outputs_stay_where_a_runtime_writes_each_run_into_the_same_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ExecuTorch does; here something stands in for it, since it takes long to import."""
    memory = torch.zeros(3)

    class Program:
        """Doubles its input, in memory of its own."""

        def load_method(self, name: str) -> "Program":
            assert name == "forward"
            return self

        def execute(self, inputs: list[Tensor]) -> list[Tensor]:
            return [memory.copy_(2 * inputs[0])]

    runtime = SimpleNamespace(load_program=lambda path: Program())
    threads = {"_threadpool_get_thread_count": torch.get_num_threads, "_unsafe_reset_threadpool": None}
    modules = {
        "executorch.runtime": SimpleNamespace(Runtime=SimpleNamespace(get=lambda: runtime)),
        "executorch.extension.pybindings.portable_lib": SimpleNamespace(**threads),
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    run = FORMATS["executorch"].load(tmp_path / "x.pte")
    outputs = [run((torch.full((3,), float(number)),))[0] for number in range(3)]
    assert [output.tolist() for output in outputs] == [[0] * 3, [2] * 3, [4] * 3]


@pytest.mark.parametrize(("low", "multiple", "least"), [(5, 4, 8), (8, 4, 8), (9, 4, 12), (5, 1, 5)])
@pytest.mark.parametrize("limit", [None, 16])
def test_file_takes_all_sizes_that_the_network_takes_and_none_below(
    low: int, multiple: int, least: int, limit: int | None, tmp_path: Path
) -> None:
    length = Axis("length", example=16, low=low, limit=limit, multiple=multiple)
    inputs = (GraphInput("x", (BATCH, length)),)
    graph = ExportGraph(Plain(), inputs, ("y",), lambda batch: (batch["x"],), decide=ArgMax(1))
    run = write_and_load(FORMATS["torch_export"], "torch_export", graph, tmp_path / "x.pt2")
    for size in (least, 16):
        assert run((torch.ones(2, size),))[0].shape == (2, size)
    for size in (least - multiple, *([] if limit is None else [limit + multiple])):
        with pytest.raises(InputError, match=rf"torch_export cannot run the file on inputs of \[2, {size}\]"):
            run((torch.ones(2, size),))


def test_network_whose_source_torchscript_cannot_read_is_traced(tmp_path: Path) -> None:
    class Unreadable(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return sum((x * factor for factor in {1, 2}), start=x)

    run = write_and_load(FORMATS["torchscript"], "torchscript", numbers(Unreadable()), tmp_path / "x.pt")
    assert torch.allclose(run((torch.ones(3, 5),))[0], torch.full((3, 5), 4.0))


class Failing:
    """A format that fails in one of its two halves."""

    suffix, libraries, planned, quantizable = ".x", (), False, False

    def __init__(self, error: Exception, loading: bool = False) -> None:
        self.error, self.loading = error, loading

    def write(self, graph: Any, path: Path) -> None:
        path.write_text("half of it")
        if not self.loading:
            raise self.error

    def load(self, path: Path) -> Any:
        raise self.error


def test_full_disk_is_no_fault_of_the_model(tmp_path: Path) -> None:
    file = ExportedFile(tmp_path / "model.x", ".x", overwrite=False)
    failing: Any = Failing(OSError(errno.ENOSPC, "No space left on device"))

    def write() -> None:
        with file.unfinished() as part:
            write_and_load(failing, "x", numbers(Plain()), part)

    with pytest.raises(InputError, match=r"model\.x: it could not be written \(.*No space left on device"):
        write()
    assert not list(tmp_path.iterdir())


def test_file_that_its_runtime_cannot_load_is_said(tmp_path: Path) -> None:
    failing: Any = Failing(RuntimeError("unknown operator\nand many lines more"), loading=True)
    with pytest.raises(InputError, match="x cannot load it again: RuntimeError: unknown operator and many lines more"):
        write_and_load(failing, "x", numbers(Plain()), tmp_path / "x")


def test_first_cause_of_an_error_is_said() -> None:
    error, between = RuntimeError("export failed"), ValueError("conversion failed")
    error.__cause__, between.__cause__ = between, KeyError("aten.fft")
    assert operation_in(error) == "KeyError: 'aten.fft'"
    assert operation_in(ValueError()) == "ValueError"


def test_weights_that_onnx_cannot_hold_in_a_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sextant.export.formats.onnx.MOST_BYTES", 10)
    with pytest.raises(InputError, match="onnx cannot hold this model: ValueError: an ONNX file holds 2 GB"):
        write_and_load(FORMATS["onnx"], "onnx", numbers(nn.Linear(5, 3)), tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("format", "suffix"), [("torchscript", ".pt"), ("torch_export", ".pt2")])
def test_disk_that_is_full_ends_no_process(format: str, suffix: str, tmp_path: Path) -> None:
    """Where PyTorch writes files itself, its writer aborts the process."""
    (tmp_path / "model").mkdir()  # in the place of the file
    with pytest.raises(OSError, match="Is a directory"):
        FORMATS[format].write(numbers(nn.Linear(5, 3)), tmp_path / "model")


def test_input_that_the_runtime_refuses_is_said_with_its_shape(tmp_path: Path) -> None:
    run = write_and_load(FORMATS["onnx"], "onnx", numbers(nn.Linear(5, 3)), tmp_path / "x.onnx")
    with pytest.raises(InputError, match=r"onnx cannot run the file on inputs of \[2, 6\]: "):
        run((torch.ones(2, 6),))
