"""What is said of a file."""

import json
from typing import Any

import torch

from export.comparison import Comparison
from export.description import describe, summary
from export.pictures import with_pictures
from tests.export.graphs import MEAN, NAMES, STD, segmenter

MEASURED = Comparison(
    samples=64,
    decisions=12345,
    agreement=0.99987,
    largest_difference=0.00123,
    eager_milliseconds=20.0,
    exported_milliseconds=5.0,
    threads=1,
)


def without_words(tensors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in tensor.items() if key != "about"} for tensor in tensors]


def test_free_axes_have_names_and_outputs_the_shape_of_an_example() -> None:
    about = describe(segmenter(), [torch.zeros(2, 4, 24, 20)])
    assert without_words(about["inputs"]) == [
        {"name": "image", "dtype": "float32", "shape": ["batch", 3, "height", "width"]}
    ]
    assert without_words(about["outputs"]) == [{"name": "out", "dtype": "float32", "example_shape": [2, 4, 24, 20]}]
    assert about["classes"] == NAMES
    assert about["axes"]["height"] == {"min": 4, "max": None, "multiple_of": 1}


def test_fixed_sizes_are_numbers_and_what_the_file_does_itself_is_said() -> None:
    graph = with_pictures(segmenter(), (8, 10), "normalize", True, (MEAN, STD))
    about: dict[str, Any] = describe(graph, [torch.zeros(1, 8, 10, dtype=torch.uint8)])
    assert without_words(about["inputs"]) == [{"name": "pixels", "dtype": "uint8", "shape": [1, 8, 10, 3]}]
    assert without_words(about["outputs"]) == [{"name": "labels", "dtype": "uint8", "shape": [1, 8, 10]}]
    assert about["preprocessing"] == {"included": "normalize", "size": [8, 10]}


def test_description_is_plain_and_is_read_back_as_it_was() -> None:
    for size in (None, (8, 10)):
        about = describe(
            with_pictures(segmenter(), size, "none", False, (tuple(MEAN), tuple(STD))), [torch.zeros(1, 4, 8, 10)]
        )
        assert json.loads(json.dumps(about, allow_nan=False)) == about


def test_summary_has_size_time_difference_agreement_and_metrics() -> None:
    said = summary(MEASURED, {"val/miou_float": 0.7, "val/miou_int8": 0.69}, 12_345_678)
    for part in (
        "12.3 MB",
        "5.0 ms, 0.25 of PyTorch's 20.0 ms",
        "0.0012",
        "99.987% of 12,345 of 64 samples",
        "val/miou_float: 0.7000",
        "val/miou_int8: 0.6900",
    ):
        assert part in said
