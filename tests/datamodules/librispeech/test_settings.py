"""A setting that makes no sense is named with its group."""

import inspect
import itertools
import math
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from datamodules.librispeech import LibriSpeech
from sextant.errors import InputError
from tests.datamodules.speech_data import GROUP_OF, GROUPS, indices


def named(key: str) -> str:
    """What the message about a setting says."""
    return rf"data\.{GROUP_OF[key]}\.{key} is " if key in GROUP_OF else rf"data\.{key} is "


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("sample_rate", 0), ("sample_rate", -16000), ("num_features", 0), ("num_workers", -1)],
        *[("longest_segment", 0.0), ("longest_segment", math.nan), ("max_batch_length", 0.0)],
        *[("max_batch_length", -1.0), ("max_batch_length", math.nan), ("speeds", [0.0]), ("speeds", [1.0, -0.9])],
        *[("speeds", [math.nan]), ("subwords", -1), ("time_masks", -1), ("feature_masks", -1)],
        *[("time_mask_width", 0), ("feature_mask_width", 0), ("time_mask_fraction", 0.0), ("time_mask_fraction", 1.1)],
        *[
            ("time_mask_fraction", math.nan),
            ("alphabet", ""),
            ("alphabet", "ABA"),
            ("subwords", 3),
            ("subwords", 10_000),
        ],
    ],
)
def test_setting_that_makes_no_sense_is_an_input_error_that_names_it(
    prepared: Callable[..., LibriSpeech], key: str, value: Any
) -> None:
    with pytest.raises(InputError, match=named(key)) as error:
        prepared("fit", **{key: value})
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "options",
    [
        *[{"max_batch_ex": 0}, {"padding": 1.0}, {"padding": -0.1}, {"buckets": 0}, {"buckets": []}],
        *[{"buckets": [2.0, 1.0]}, {"quadratic": 0.0}, {"quadratic": -1.0}],
        *[{"padding": 0.1, "buckets": 2}, {"padding": 0.1, "buckets": [1.0]}],
        *[{"batch_ordering": "sorted"}, {"max_batch_length": math.inf}],
    ],
)
def test_batches_that_make_no_sense_are_an_input_error_that_names_the_settings(
    prepared: Callable[..., LibriSpeech], options: dict[str, Any]
) -> None:
    with pytest.raises(InputError) as error:
        prepared("fit", **options).train_dataloader()
    assert all(key in str(error.value) for key in options)
    assert "data" in str(error.value)


@pytest.mark.parametrize(
    ("key", "value"), [("sample_rate", 1), ("sample_rate", 40), ("speeds", [math.inf]), ("speeds", [1e-9])]
)
def test_setting_that_is_far_off_is_an_input_error_that_names_it(
    make: Callable[..., LibriSpeech], key: str, value: Any
) -> None:
    with pytest.raises(InputError, match=named(key)):
        make(**{key: value})


def test_segments_without_a_limit_are_refused_or_whole_files(
    prepared: Callable[..., LibriSpeech], librispeech: Path
) -> None:
    try:
        data = prepared("predict", longest_segment=math.inf, audio=str(librispeech / "test-small"))
    except InputError as error:
        assert "data.prediction.longest_segment" in str(error)  # noqa: PT017
        return
    assert sorted(itertools.chain(*indices(data.predict_dataloader()))) == [0, 1, 2, 3]


def test_settings_that_may_change_are_settings() -> None:
    names = set(inspect.signature(LibriSpeech).parameters)
    assert LibriSpeech.free_settings <= names
    learned_from = {"synthetic", "subsets", "features", "tokenizer", "batching", "augmentation", "seed"}
    assert learned_from == names - LibriSpeech.free_settings


def test_groups_are_settings_and_no_two_of_them_have_a_setting_of_the_same_name() -> None:
    assert GROUPS.keys() <= inspect.signature(LibriSpeech).parameters.keys()
    assert len(GROUP_OF) == sum(len(fields(group)) for group in GROUPS.values())
