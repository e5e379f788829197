"""Eight bits for each weight, once, with ranges from real samples."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from sextant.errors import InputError
from sextant.export.formats import FORMATS
from sextant.export.formats.format import Runner
from sextant.export.graph import ExportGraph, GraphInput
from sextant.export.images import with_images
from sextant.export.quantization import calibration_inputs, quantize
from tests.sextant.export.graphs import MEAN, STD, classifier, segmenter

WIDTH = 160  # 930 thousand weights, beside which the rest of a file is small


@pytest.fixture(scope="module")
def images() -> list[tuple[Tensor, ...]]:
    """Inputs whose ranges are those of other such inputs."""
    return [(image[None],) for image in torch.randn(24, 3, 24, 20, generator=torch.Generator().manual_seed(1))]


@pytest.fixture(scope="module", params=["torch_export", "executorch"])
def files(
    request: pytest.FixtureRequest, images: list[tuple[Tensor, ...]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """A network of floats and its quantized self in one format: the graph, paths and runners."""
    kind, folder = FORMATS[request.param], tmp_path_factory.mktemp("files")
    graph = classifier(WIDTH)
    if kind.planned:
        graph = classifier(WIDTH, inputs=(GraphInput("image", (1, 3, 24, 20)),))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: dict[str, Any] = {"graph": graph}
        for name, written in (("float", graph), ("int8", quantize(graph, images[:16], progress=False))):
            path = folder / f"{name}{kind.suffix}"
            kind.write(written, path)
            found[name] = (path, kind.load(path))
    return found


@pytest.mark.slow
def test_file_is_about_a_quarter_of_the_size(files: dict[str, Any]) -> None:
    floats, integers = (files[name][0].stat().st_size for name in ("float", "int8"))
    assert floats > 4 * 900_000
    assert 0.2 * floats < integers < 0.3 * floats


@pytest.mark.slow
@pytest.mark.parametrize("files", ["torch_export"], indirect=True)
def test_program_holds_each_weight_once_and_large_ones_as_integers(files: dict[str, Any]) -> None:
    weights = sum(p.numel() for p in files["graph"].network.parameters() if p.ndim == 4)
    program = torch.export.load(files["int8"][0])
    held = [*program.state_dict.values(), *(x for x in program.constants.values() if isinstance(x, Tensor))]
    largest = files["graph"].network.features[2].weight.numel()
    assert sum(x.numel() for x in held if x.dtype == torch.int8) == pytest.approx(weights, rel=0.02)
    assert all(x.dtype == torch.int8 for x in held if x.numel() > largest / 100)


@pytest.mark.slow
def test_network_is_rounded_and_not_changed(files: dict[str, Any], images: list[tuple[Tensor, ...]]) -> None:
    graph: ExportGraph = files["graph"]
    runs: dict[str, Runner] = {name: files[name][1] for name in ("float", "int8")}
    for inputs in images[16:]:
        expected = graph.network(*inputs)
        assert torch.allclose(runs["float"](inputs)[0], expected, atol=1e-4)
        found = runs["int8"](inputs)[0]
        assert not torch.allclose(found, expected, atol=1e-5)
        assert (found - expected).abs().max() < 0.1 * expected.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("files", ["torch_export"], indirect=True)
def test_quantized_program_keeps_its_free_dimensions(files: dict[str, Any]) -> None:
    inputs = (torch.randn(3, 3, 33, 18),)
    expected, found = files["graph"].network(*inputs), files["int8"][1](inputs)[0]
    assert (found - expected).abs().max() < 0.1 * expected.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("make", [segmenter, classifier])
def test_bytes_in_and_labels_out_stay_whole_numbers(make: Any) -> None:
    graph = with_images(make(), (24, 20), "normalize", True, (MEAN, STD))
    drawn = torch.randint(256, (12, 1, 24, 20, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantized = quantize(graph, [(pixels,) for pixels in drawn[:8]], progress=False)
    expected = torch.stack([graph.network(pixels) for pixels in drawn[8:]])
    found = torch.stack([quantized.network(pixels) for pixels in drawn[8:]])
    assert found.dtype == expected.dtype == torch.uint8
    assert (found == expected).float().mean() > 0.7


def batches(samples: int) -> list[dict[str, Tensor]]:
    return [{"image": torch.zeros(10, 3, 8, 8)} for _ in range(samples // 10)]


def test_few_samples_are_an_error_until_they_are_accepted() -> None:
    with pytest.raises(InputError, match=r"has 120 samples to calibrate on, and 128 are needed.*_samples=120"):
        calibration_inputs(classifier(), batches(120), None)
    with pytest.warns(UserWarning, match="Calibrated on 120 samples only"):
        found = calibration_inputs(classifier(), batches(120), 120)
    assert sum(len(x) for (x,) in found) == 120
    with pytest.warns(UserWarning, match="Calibrated on 7 samples only"):
        found = calibration_inputs(classifier(), batches(120), 7)
    assert sum(len(x) for (x,) in found) == 7


@pytest.mark.parametrize(("wanted", "taken"), [(None, 128), (128, 128), (135, 135)])
def test_enough_samples_are_taken_without_a_word(wanted: int | None, taken: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = calibration_inputs(classifier(), batches(140), wanted)
    assert sum(len(x) for (x,) in found) == taken
