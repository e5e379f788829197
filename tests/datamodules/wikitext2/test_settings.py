"""A setting that makes no sense is named."""

import inspect
from collections.abc import Callable
from dataclasses import fields

import pytest

from datamodules.text.windows import Evaluation
from datamodules.wikitext2 import WikiText2
from sextant.errors import InputError
from tests.datamodules.text_data import BATCHINGS, during


@pytest.mark.parametrize("key", ["batch_size", "eval_batch_size", "sequence_length", "eval_length", "min_count"])
@pytest.mark.parametrize("value", [0, -3])
def test_value_below_one_is_an_input_error_that_names_the_setting(
    make: Callable[..., WikiText2], key: str, value: int
) -> None:
    name = key.replace("eval_", "evaluation.")
    with pytest.raises(InputError, match=rf"data\.{name} is {value}; it must be 1 or more"):
        make(**{key: value})


def test_negative_number_of_workers_is_an_input_error_that_names_the_setting(
    prepared: Callable[..., WikiText2],
) -> None:
    with pytest.raises(InputError, match=r"data\.num_workers"):
        prepared("fit", num_workers=-1).train_dataloader()


@pytest.mark.parametrize("stride", [0, -1, 9])
def test_stride_that_leaves_words_out_is_an_input_error_that_names_the_settings(
    make: Callable[..., WikiText2], stride: int
) -> None:
    with pytest.raises(InputError, match=rf"data\.evaluation\.stride is {stride}") as error:
        make(eval_stride=stride)
    assert "data.evaluation.length (8)" in str(error.value)


def test_smallest_settings_are_accepted(prepared: Callable[..., WikiText2]) -> None:
    ones = dict.fromkeys(("batch_size", "eval_batch_size", "sequence_length", "eval_length", "eval_stride"), 1)
    for batching in BATCHINGS:
        data = prepared("fit", batching=batching, **ones)
        assert next(iter(data.train_dataloader()))["input"].shape == (1, 1)
        assert len(data.val_dataloader()) == 44


def test_settings_that_may_change_are_settings() -> None:
    names = {f"evaluation.{field.name}" for field in fields(Evaluation)} | set(inspect.signature(WikiText2).parameters)
    assert WikiText2.free_settings <= names
    learned_from = {"dataset_config", "synthetic", "min_count", "batching", "sequence_length", "batch_size", "seed"}
    learned_from |= {"evaluation", "evaluation.length", "evaluation.stride"}
    assert learned_from <= names
    assert not learned_from & WikiText2.free_settings


def test_too_small_evaluation_batches_for_two_processes_are_refused_by_the_name_of_their_setting(
    prepared: Callable[..., WikiText2],
) -> None:
    data = prepared("validate", eval_batch_size=1)
    data.trainer = during("validating", world_size=2)
    with pytest.raises(InputError, match=r"data\.evaluation\.batch_size 1"):
        data.val_dataloader()
