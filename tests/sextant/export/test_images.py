"""Images as an app has them, and labels as it wants them."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from sextant.errors import InputError
from sextant.export.graph import BATCH, ExportGraph, in_order
from sextant.export.images import FromBytes, Preprocessing, to_bytes, with_images
from tests.sextant.export.graphs import MEAN, NAMES, STD, classifier, segmenter

MAKERS = {"a class for each pixel": segmenter, "a class for each image": classifier}


def pixels(batch: int = 1, height: int = 11, width: int = 14) -> Tensor:
    return torch.randint(256, (batch, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def normalized(pixels: Tensor) -> Tensor:
    """What a DataModule makes of images, (B, 3, H, W)."""
    images = transforms.to_dtype(pixels.permute(0, 3, 1, 2), torch.float32, scale=True)
    return transforms.normalize(images, MEAN, STD)


def changed(
    graph: ExportGraph, size: tuple[int, int] | None, preprocessing: Preprocessing, argmax: bool
) -> ExportGraph:
    return with_images(graph, size, preprocessing, argmax, (MEAN, STD))


@given(st.integers(1, 3), st.integers(4, 20), st.integers(4, 20))
@settings(max_examples=20)
def test_network_of_bytes_gives_what_the_network_gives_for_the_normalized_image(
    batch: int, height: int, width: int
) -> None:
    plain, graph = classifier(), changed(classifier(), None, "normalize", argmax=False)
    given = pixels(batch, height, width)
    assert torch.allclose(graph.network(given), plain.network(normalized(given)), atol=1e-5)


@pytest.mark.parametrize("size", [(8, 9), (30, 40), (7, 40)])
def test_images_are_stretched_as_pillow_stretches_them(size: tuple[int, int]) -> None:
    given = pixels(1, 23, 31)
    found = FromBytes(MEAN, STD, size)(given)[0]
    found = (found * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]) * 255
    pillow = Image.fromarray(given[0].numpy()).resize(size[::-1], Image.Resampling.BILINEAR)
    assert found.shape == (3, *size)
    assert (found - torch.from_numpy(np.array(pillow)).permute(2, 0, 1)).abs().max() <= 1.5  # Pillow rounds twice


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("preprocessing", ["none", "normalize", "resize"])
@pytest.mark.parametrize("argmax", [False, True])
def test_torchscript_reads_the_source_of_whatever_surrounds_a_network(
    make: Any, preprocessing: Preprocessing, argmax: bool
) -> None:
    graph = changed(make(), (9, 12) if preprocessing == "resize" else None, preprocessing, argmax)
    script = torch.jit.script(graph.network)
    for batch, height, width in ((1, 24, 20), (1, 13, 17)):
        given = pixels(batch, height, width)
        example = normalized(given) if preprocessing == "none" else given
        for found, expected in zip(in_order(script(example)), in_order(graph.network(example)), strict=True):
            assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_labels_are_the_classes_with_the_highest_scores(make: Any) -> None:
    plain, deciding = make(), changed(make(), None, "none", argmax=True)
    image = normalized(pixels(2))
    scores = in_order(plain.network(image))[0]
    labels = deciding.network(image)
    assert labels.dtype == torch.uint8
    assert torch.equal(labels.long(), scores.argmax(1))
    assert deciding.outputs == ("labels",)
    assert torch.equal(deciding.decisions((labels,)).long(), plain.decisions((scores,)))


@pytest.mark.parametrize(("classes", "dtype"), [(256, torch.uint8), (257, torch.int64), (0, torch.int64)])
def test_labels_are_bytes_where_all_classes_fit_into_one(classes: int, dtype: torch.dtype) -> None:
    graph = changed(classifier(names=["name"] * classes), None, "none", argmax=True)
    assert graph.network(normalized(pixels())).dtype == dtype


def test_every_byte_survives_normalization_and_its_undoing() -> None:
    given = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).repeat(1, 1, 1, 3)
    assert torch.equal(to_bytes(normalized(given), MEAN, STD), given)
    graph = changed(segmenter(), None, "normalize", argmax=False)
    assert graph.fit is not None
    assert torch.equal(graph.fit(normalized(given))[0], given)


@pytest.mark.parametrize("preprocessing", ["none", "normalize", "resize"])
@pytest.mark.parametrize("argmax", [False, True])
def test_images_are_fitted_to_the_size_of_the_file_and_scores_to_the_size_of_the_image(
    preprocessing: Preprocessing, argmax: bool
) -> None:
    graph = changed(segmenter(), (8, 10), preprocessing, argmax)
    image = normalized(pixels(1, 13, 17))
    assert graph.fit is not None
    assert graph.restore is not None
    (given,) = graph.fit(image)
    assert given.shape == {"none": (1, 3, 8, 10), "normalize": (1, 8, 10, 3), "resize": (1, 13, 17, 3)}[preprocessing]
    outputs = in_order(graph.network(given))
    assert outputs[0].shape[-2:] == (8, 10)
    assert graph.restore(outputs, image).shape == (1, len(NAMES), 13, 17)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_restored_labels_decide_as_the_scores_do_where_nothing_is_stretched(make: Any) -> None:
    image = normalized(pixels(1))
    scores, labels = changed(make(), None, "normalize", argmax=False), changed(make(), None, "normalize", argmax=True)
    found = []
    for graph in (scores, labels):
        assert graph.fit is not None
        assert graph.restore is not None
        found.append(graph.restore(in_order(graph.network(*graph.fit(image))), image))
    assert found[0].shape == found[1].shape
    assert torch.equal(found[0].argmax(1), found[1].argmax(1))


def test_a_size_makes_the_file_take_one_image_of_that_size() -> None:
    for preprocessing, shape in (("none", (1, 3, 8, 10)), ("normalize", (1, 8, 10, 3))):
        graph = changed(segmenter(), (8, 10), preprocessing, argmax=False)  # type: ignore[arg-type]
        assert graph.inputs[0].shape == shape
    free = segmenter().inputs[0].shape
    assert changed(segmenter(), None, "none", argmax=False).inputs[0].shape == free
    (taken,) = changed(segmenter(), None, "normalize", argmax=False).inputs
    assert (taken.name, taken.dtype, taken.shape) == ("pixels", torch.uint8, (BATCH, *free[2:], 3))
    assert changed(segmenter(), (8, 10), "resize", argmax=False).inputs[0].shape == (1, *free[2:], 3)


def test_stretching_without_a_size_is_refused() -> None:
    with pytest.raises(InputError, match=r"--size=\[400,400\]"):
        changed(segmenter(), None, "resize", argmax=False)
