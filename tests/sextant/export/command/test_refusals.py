"""Exports that must not begin, and files that are not kept."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sextant.errors import InputError
from sextant.export.formats import FORMATS
from sextant.export.formats.format import Runner
from sextant.export.formats.torch_export import TorchExport
from sextant.export.graph import ExportGraph
from tests.sextant.tiny import ARGUMENTS
from train import main


def noisy(load: Callable[[TorchExport, Path], Runner]) -> Callable[[TorchExport, Path], Runner]:
    """A runtime that computes something else."""

    def loaded(kind: TorchExport, path: Path) -> Runner:
        run = load(kind, path)
        return lambda inputs: tuple(torch.randn_like(output) for output in run(inputs))

    return loaded


@pytest.mark.parametrize("old", [pytest.param(None, marks=pytest.mark.slow), "old"])
def test_file_that_decides_otherwise_is_not_kept(
    transformer: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str | None
) -> None:
    torch.manual_seed(0)
    output = tmp_path / "model.pt2"
    if old:
        output.write_text(old)
    monkeypatch.setattr(TorchExport, "load", noisy(TorchExport.load))
    with pytest.raises(InputError, match=r"in \d+\.\d+% of [\d,]+ decisions, which is less than 99\.900%"):
        main(
            [
                *("export", *transformer, "--random_weights=true", "--format=torch_export", f"--output={output}"),
                *("--overwrite=true", "--samples=4"),
            ]
        )
    assert [path.name for path in tmp_path.iterdir()] == (["model.pt2"] if old else [])
    assert not old or output.read_text() == old


def test_interruption_leaves_no_file(transformer: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(kind: TorchExport, graph: ExportGraph, path: Path) -> None:
        path.write_text("half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(TorchExport, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main(
            [
                *("export", *transformer, "--random_weights=true", "--format=torch_export", "--samples=4"),
                f"--output={tmp_path / 'x.pt2'}",
            ]
        )
    assert not list(tmp_path.iterdir())


def refusal(arguments: list[str], folder: Path, *more: str) -> str:
    """The message of an export that must not begin, and leaves nothing."""
    before = sorted(folder.rglob("*"))
    with pytest.raises(InputError) as error:
        main(["export", *arguments, *more])
    assert sorted(folder.rglob("*")) == before
    return str(error.value)


def test_export_without_weights_says_how_to_give_some(transformer: list[str], folder: Path) -> None:
    message = refusal(transformer, folder, "--format=torchscript", "--output=x.pt")
    assert "--ckpt_path=best" in message
    assert "--random_weights=true" in message


def test_weights_are_random_or_from_a_checkpoint(line: Path, folder: Path) -> None:
    message = refusal(
        *(ARGUMENTS, folder, "--random_weights=true", f"--ckpt_path={line}"),
        *("--format=torchscript", "--output=x.pt"),
    )
    assert "--random_weights" in message
    assert "--ckpt_path" in message


def test_checkpoint_of_another_workload_is_refused(transformer: list[str], line: Path, folder: Path) -> None:
    arguments = [f"--ckpt_path={line}", "--format=torchscript", "--output=x.pt"]
    assert "a checkpoint of another workload" in refusal(transformer, folder, *arguments)


@pytest.mark.parametrize("option", ["--size=[40,40]", "--preprocessing=normalize", "--argmax=true", "--int8=true"])
def test_options_for_images_are_refused_for_text(transformer: list[str], folder: Path, option: str) -> None:
    arguments = ["--random_weights=true", "--format=torch_export", "--output=x.pt2"]
    message = refusal(transformer, folder, *arguments, option)
    assert option.partition("=")[0] in message
    assert "LanguageModel does not" in message


@pytest.mark.parametrize("format", ["onnx", "torchscript"])
def test_formats_of_floats_refuse_to_quantize(deeplab: list[str], folder: Path, format: str) -> None:
    arguments = ["--random_weights=true", f"--format={format}", f"--output=x{FORMATS[format].suffix}", "--int8=true"]
    assert f"{format} files hold floats only" in refusal(deeplab, folder, *arguments)


def test_stretching_needs_a_size(deeplab: list[str], folder: Path) -> None:
    arguments = ["--random_weights=true", "--format=torchscript", "--output=x.pt", "--preprocessing=resize"]
    assert "--size=[400,400]" in refusal(deeplab, folder, *arguments)


def test_missing_libraries_are_said_before_any_work(
    deeplab: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(name: str, *more: Any) -> object:
        return None if name == "onnxruntime" else object()

    monkeypatch.setattr("sextant.export.writing.importlib.util.find_spec", without)
    message = refusal(deeplab, folder, "--random_weights=true", "--format=onnx", "--output=x.onnx")
    assert "needs onnxruntime" in message
    assert "uv run --extra export" in message
