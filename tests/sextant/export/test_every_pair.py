"""Every workload in every format, as the table of docs/export.md says."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sextant.errors import InputError
from sextant.export.comparison import eager
from sextant.export.exporter import AGREEMENT, ExportSettings
from sextant.export.formats import FORMATS
from sextant.export.graph import Axis, ExportGraph, with_planned_memory
from train import main

ROOT = Path(__file__).resolve().parents[3]
WORKLOADS = {
    "ResNet": "resnet_tiny_imagenet",
    "Transformer": "transformer_wikitext2",
    "FLAVA": "flava_textvqa",
    "DLRM": "dlrm_criteo",
    "DeepLabV3": "deeplab_voc",
    "Conformer": "conformer_librispeech",
}
#: What every run of the tests tries; the others are slow.
QUICK = {("FLAVA", "torchscript"), ("Transformer", "torch_export"), ("Transformer", "int8")}


def table() -> dict[tuple[str, str], bool]:
    """What docs/export.md says of each workload and format."""
    page = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    head = next(place for place, row in enumerate(rows) if row[:2] == ["", "torchscript"])
    said = {}
    for row in rows[head + 2 : head + 2 + len(WORKLOADS)]:
        for format, cell in zip(rows[head][1:], row[1:], strict=True):
            assert cell in ("yes", "no"), row
            said[row[0], format] = cell == "yes"
    return said


TABLE = table()


@dataclass(frozen=True)
class Tried:
    """What came of an export.

    Args:
        workload: its name in the table.
        format: the column of the table.
        output: where the file is or would be.
        error: why there is none.
        graph: the model, with free dimensions wherever the format has any.
    """

    workload: str
    format: str
    output: Path
    error: InputError | None
    graph: ExportGraph | None


@pytest.fixture(
    scope="module",
    params=[pytest.param(pair, id="-".join(pair), marks=[] if pair in QUICK else [pytest.mark.slow]) for pair in TABLE],
)
def tried(request: pytest.FixtureRequest, folder: Path, small: Callable[[str], list[str]]) -> Tried:
    """One pair."""
    workload, column = request.param
    config = WORKLOADS[workload]
    arguments = [*small(config), "--data.num_workers=0"]
    format = column
    if workload == "Transformer":
        arguments.append("--model.architecture.num_layers=1")  # a lowering takes as long as there are operations
    if workload == "DeepLabV3" and column in ("executorch", "int8"):
        arguments.append("--size=[65,65]")  # for less work than its usual images
    if column == "int8":
        format = "executorch"
        arguments += ["--int8=true", "--calibration_samples=8"]
    output = folder / f"{config}_{column}{FORMATS[format].suffix}"
    arguments += ["--random_weights=true", f"--format={format}", f"--output={output}", "--samples=4"]
    error = graph = None
    try:
        model: Any = main(["export", *arguments, "--trainer.enable_progress_bar=false"]).model
    except InputError as raised:
        error = raised
    else:
        graph = model.export_graph()
        graph.network.eval()
        if FORMATS[format].planned:
            graph = with_planned_memory(graph)
    return Tried(workload, column, output, error, graph)


def test_table_names_every_workload_and_every_format() -> None:
    assert set(TABLE) == {(workload, format) for workload in WORKLOADS for format in (*FORMATS, "int8")}


def test_pair_works_as_the_table_says(tried: Tried) -> None:
    description = Path(f"{tried.output}.json")
    if not TABLE[tried.workload, tried.format]:
        assert tried.error is not None
        assert "int8" in str(tried.error) or "cannot" in str(tried.error)
        assert not tried.output.exists()
        assert not description.exists()
        return
    assert tried.error is None, tried.error
    assert tried.graph is not None
    about = json.loads(description.read_text())
    assert about["file_bytes"] == tried.output.stat().st_size > 1000
    assert about["random_weights"]
    assert about["measured"]["samples"] == (4 if tried.workload != "DeepLabV3" else 3)  # the small data has three
    if tried.format == "int8":
        assert about["int8"]
        assert about["measured"]["agreement"] >= ExportSettings.int8_agreement
        floats, integers = (about["measured"][f"{tried.graph.metric}_{kind}"] for kind in ("float", "int8"))
        assert integers == pytest.approx(floats, abs=0.02)
    else:
        assert about["measured"]["agreement"] >= AGREEMENT
        assert about["measured"]["largest_difference"] < 1e-3
    assert [given["name"] for given in about["inputs"]] == [given.name for given in tried.graph.inputs]


def sizes_of(graph: ExportGraph) -> list[dict[str, int]]:
    """Sizes of all free axes, none of which is that of an example: small ones, larger ones, and a single sample."""
    axes = {axis for given in graph.inputs for axis in given.shape if isinstance(axis, Axis)}

    def between(axis: Axis, share: float) -> int:
        at_most = axis.example + max(5, axis.example // 3)
        size = int(axis.low + share * (min(axis.limit or at_most, at_most) - axis.low))
        size -= size % axis.multiple
        return size + axis.multiple if size == axis.example else size

    several = [{axis.name: between(axis, share) for axis in axes} for share in (0.2, 0.9)]
    return [*several, several[0] | {"batch": 1}]


def draw(graph: ExportGraph, sizes: dict[str, int]) -> tuple[Tensor, ...]:
    """Inputs of such sizes."""
    made = []
    for given in graph.inputs:
        shape = [axis if isinstance(axis, int) else sizes[axis.name] for axis in given.shape]
        if given.dtype.is_floating_point:
            made.append(torch.randn(shape))
        elif given.name == "lengths":
            longest = sizes["frames" if "frames" in sizes else "tokens"]
            made.append(torch.linspace(longest, 1, shape[0]).long())
        else:
            made.append(torch.randint(2, shape))  # words, rows of tables, or how many of them
    return tuple(made)


def test_free_dimensions_take_sizes_that_the_network_was_not_traced_with(tried: Tried) -> None:
    if tried.graph is None:
        return  # the table says that there is no file
    about = json.loads(Path(f"{tried.output}.json").read_text())
    format = FORMATS[about["format"]]
    if not any(isinstance(size, str) for given in about["inputs"] for size in given["shape"]):
        assert format.planned
        return
    torch.manual_seed(1)
    run = format.load(tried.output)
    for sizes in sizes_of(tried.graph):
        inputs = draw(tried.graph, sizes)
        for expected, found in zip(eager(tried.graph, inputs), run(inputs), strict=True):
            assert found.shape == expected.shape
            assert torch.allclose(found, expected, rtol=1e-3, atol=1e-3), sizes
