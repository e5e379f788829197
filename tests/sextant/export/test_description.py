"""What is said of a file."""

import json
from typing import Any

import numpy as np
import torch

from sextant.export.comparison import Comparison
from sextant.export.description import describe, summary, versions
from sextant.export.images import with_images
from tests.sextant.export.graphs import MEAN, NAMES, STD, segmenter


def test_free_axes_have_names_and_outputs_the_shape_of_an_example() -> None:
    about = describe(segmenter(about={"image": "an image"}), [torch.zeros(2, 4, 24, 20)])
    shape = ["batch", 3, "height", "width"]
    assert about["inputs"] == [{"name": "image", "dtype": "float32", "shape": shape, "about": "an image"}]
    assert about["outputs"] == [{"name": "out", "dtype": "float32", "example_shape": [2, 4, 24, 20], "about": ""}]
    assert about["axes"]["batch"] == {"min": 1, "max": None, "multiple_of": 1}
    assert about["axes"]["height"] == {"min": 4, "max": None, "multiple_of": 1}
    assert about["classes"] == NAMES


def test_fixed_sizes_are_numbers_and_what_the_file_does_itself_is_said() -> None:
    graph = with_images(segmenter(), (8, 10), "normalize", True, (MEAN, STD))
    about: dict[str, Any] = describe(graph, [torch.zeros(1, 8, 10, dtype=torch.uint8)])
    (taken,), (given,) = about["inputs"], about["outputs"]
    assert "red, green, blue" in taken.pop("about")
    assert taken == {"name": "pixels", "dtype": "uint8", "shape": [1, 8, 10, 3]}
    assert given.pop("about") == "class ids"
    assert given == {"name": "labels", "dtype": "uint8", "shape": [1, 8, 10]}
    assert about["axes"] == {}
    assert about["preprocessing"] == {"included": "normalize", "size": [8, 10]}


def test_description_is_plain_and_is_read_back_as_it_was() -> None:
    for size in (None, (8, 10)):
        about = describe(
            with_images(segmenter(), size, "none", False, (tuple(MEAN), tuple(STD))), [torch.zeros(1, 4, 8, 10)]
        )
        assert json.loads(json.dumps(about, allow_nan=False)) == about


def test_summary_has_size_time_difference_agreement_and_metrics() -> None:
    comparison = Comparison(
        samples=64,
        decisions=12345,
        agreement=0.99987,
        largest_difference=0.00123,
        eager_milliseconds=20.0,
        exported_milliseconds=5.0,
        threads=2,
    )
    said = summary(comparison, {"val/miou_float": 0.7, "val/miou_int8": 0.69}, 12_345_678)
    for part in (
        "12.3 MB",
        "5.0 ms, 0.25 of PyTorch's 20.0 ms",
        "0.0012",
        "99.987% of 12,345 of 64 samples",
        "val/miou_float: 0.7000",
        "val/miou_int8: 0.6900",
    ):
        assert part in said


def test_versions_are_those_of_torch_and_of_what_was_asked_for() -> None:
    assert versions(["numpy"]) == {"torch": torch.__version__.split("+")[0], "numpy": np.__version__}
