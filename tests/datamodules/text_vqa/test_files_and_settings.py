"""Nothing is written outside of the cache, and a setting that makes no sense is named."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datamodules.images.image_file import read_image
from datamodules.synthetic import text_vqa as synthetic_set
from datamodules.text_vqa import TextVQA
from datamodules.vqa import questions as question_set
from datamodules.vqa.dataset import unpack_images
from datamodules.vqa.preprocessing import Preprocessing
from sextant.errors import InputError
from tests.datamodules.text_vqa.small_data import (
    ANSWERS,
    data_in,
    indices,
    loader_of,
    published_rows,
    text_vqa_data,
)
from tests.filesystem import listing, snapshot


def test_nothing_is_written_outside_of_the_cache(folder: Path) -> None:
    before = snapshot(folder)
    for stage, loader in (("fit", "train"), ("validate", "val")):
        indices(loader_of(data_in(folder, stage), loader))
    assert snapshot(folder) == before


def test_second_setup_checks_no_image_again(
    prepared: Callable[..., TextVQA], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared("test")
    data_in(folder, "fit")

    def refuse(source: Any) -> Image.Image:
        raise AssertionError("an image was decoded")

    monkeypatch.setattr(question_set, "read_image", refuse)
    prepared("test")
    data_in(folder, "fit")


def test_images_of_a_column_are_those_in_the_files(prepared: Callable[..., TextVQA], text_vqa: Path) -> None:
    data = prepared("test")
    rows = published_rows(text_vqa, "test")
    for batch in data.test_dataloader():
        for index, image in zip(batch["index"].tolist(), unpack_images(*batch["image"]), strict=True):
            expected = np.asarray(read_image(rows[index]["image"]["bytes"])).transpose(2, 0, 1)
            np.testing.assert_array_equal(image.numpy(), expected)


def test_synthetic_data_is_made_in_the_cache_and_only_if_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_whole = synthetic_set.make
    monkeypatch.setattr(synthetic_set, "make", lambda destination: make_whole(destination, 12, 12, 12))
    data = TextVQA(cache=str(tmp_path / "cache"))
    data.prepare_data()
    assert not data.synthetic
    assert listing(tmp_path) == []
    cache = str(tmp_path / "cache")
    data = text_vqa_data({}, synthetic=True, cache=cache, dataset="other", dataset_config="config")
    assert data.synthetic
    data.prepare_data()
    data.setup("fit")
    assert set(data.data_spec().labels) == {"<unk>", *ANSWERS}
    assert sum(map(len, data.train_dataloader().sampler)) == 156
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"batch_size": 0}, r"data\.batch_size is 0; it must be 1"),
        ({"padding": 1.0}, r"data\.padding is 1\.0; it must be 0 or more and below 1"),
        ({"padding": -0.1}, r"data\.padding is -0\.1"),
        ({"num_workers": -1}, r"data\.num_workers is -1"),
    ],
)
def test_setting_that_makes_no_sense_is_an_input_error_that_names_it(
    make: Callable[..., TextVQA], settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        make(**settings)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"preprocessing": {"answers": "missing.txt"}}, r"missing\.txt: cannot be read .*data\.preprocessing\.answers"),
        ({"preprocessing": {"min_count": 1000}}, r"data\.preprocessing\.min_count is 1000"),
        ({"preprocessing": {"tokenizer": "/no/such/vocab.txt"}}, r"/no/such/vocab\.txt: no tokenizer"),
        ({"dataset": "/no/such/set"}, r"/no/such/set: this set cannot be loaded"),
    ],
)
@pytest.mark.usefixtures("offline")
def test_setting_that_names_nothing_is_an_input_error_that_says_so(
    prepared: Callable[..., TextVQA], settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        prepared("fit", **settings)


def test_settings_that_may_change_are_settings() -> None:
    parameters = inspect.signature(TextVQA).parameters.keys()
    assert {name.partition(".")[0] for name in TextVQA.free_settings} <= parameters
    assert "answers" in inspect.signature(Preprocessing).parameters
    assert not {"preprocessing", "padding", "batch_size"} & TextVQA.free_settings
