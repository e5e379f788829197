"""Sets are loaded from folders in every form, and it is said what to do where there is none."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from datamodules.sources.hub import load_splits
from sextant.errors import InputError
from tests.filesystem import cut_in_half, listing
from tests.mutations import require_only_input_errors

SPLITS = {"train": ["a", "b", "c"], "validation": ["d"]}


def saved(folder: Path) -> None:
    datasets.DatasetDict({split: column(texts) for split, texts in SPLITS.items()}).save_to_disk(folder)


def parquet(folder: Path) -> None:
    for split, texts in SPLITS.items():
        column(texts).to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")


def arrow(folder: Path) -> None:
    saved(folder / "saved")
    for split in SPLITS:
        (file,) = (folder / "saved" / split).glob("*.arrow")
        file.rename(folder / f"{split}.arrow")
    shutil.rmtree(folder / "saved")


def column(texts: list[str]) -> Any:
    return datasets.Dataset.from_dict({"text": texts})


def load(folder: Path) -> Any:
    return load_splits(str(folder), None, folder.parent / "cache", "or ask someone")


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("write", [saved, parquet, arrow])
def test_splits_of_a_folder_are_loaded_with_the_cache_for_what_is_converted(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    (tmp_path / "set" / "data").mkdir(parents=True)
    write(tmp_path / "set")
    before = listing(tmp_path / "set")
    found = load(tmp_path / "set")
    assert {split: list(rows["text"]) for split, rows in found.items()} == SPLITS
    assert listing(tmp_path / "set") == before
    assert (tmp_path / "cache" / "huggingface").exists() == (write is not saved)


def nothing(folder: Path) -> None:
    pass


def text_alone(folder: Path) -> None:
    folder.mkdir()
    (folder / "notes.rst").write_text("no set")


def empty(folder: Path) -> None:
    folder.mkdir()


def half(folder: Path) -> None:
    (folder / "data").mkdir(parents=True)
    parquet(folder)
    cut_in_half(folder / "data" / "train-00000-of-00001.parquet")


def single_split(folder: Path) -> None:
    column(["a"]).save_to_disk(folder)


def half_saved(folder: Path) -> None:
    saved(folder)
    shutil.rmtree(folder / "train")


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("write", [nothing, empty, text_alone, half, single_split, half_saved])
def test_what_is_no_set_is_named_with_what_to_do(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path / "set")
    with pytest.raises(InputError, match=r"data\.dataset\b.*data\.dataset_config.*, or ask someone\.$") as error:
        load(tmp_path / "set")
    assert str(error.value).startswith(f"{tmp_path / 'set'}: this set cannot be loaded (")


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("config", [None, "some-config"])
def test_set_of_the_hub_that_cannot_be_reached_is_named(tmp_path: Path, config: str | None) -> None:
    with pytest.raises(InputError, match="network") as error:
        load_splits("lmms-lab/textvqa", config, tmp_path / "cache", "or ask someone")
    assert str(error.value).startswith("lmms-lab/textvqa: this set cannot be loaded (")


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("config", ["first", "second"])
def test_set_of_the_hub_is_loaded_in_the_configuration_that_was_asked_for(tmp_path: Path, config: str) -> None:
    """From the cache, as a set is that was downloaded before."""
    for name in ("first", "second"):
        folder = tmp_path / "cache" / "huggingface" / "someone___two_ways" / name / "0.0.0" / "0123abcd"
        rows = column([name])
        rows.save_to_disk(folder)
        (folder / "data-00000-of-00001.arrow").rename(folder / "two_ways-train.arrow")
        splits = {"train": {"name": "train", "num_examples": 1, "dataset_name": "two_ways"}}
        datasets.DatasetInfo(
            features=rows.features, dataset_name="two_ways", config_name=name, version="0.0.0", splits=splits
        ).write_to_directory(str(folder))
    found = load_splits("someone/two_ways", config, tmp_path / "cache", "or ask someone")
    assert {split: list(rows["text"]) for split, rows in found.items()} == {"train": [config]}


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", ["dataset_dict.json", "train/state.json", "train/dataset_info.json"])
@pytest.mark.fuzz
def test_saved_set_with_any_damage_is_loaded_or_refused(tmp_path: Path, name: str) -> None:
    saved(tmp_path / "set")
    require_only_input_errors(tmp_path / "set" / name, lambda: load(tmp_path / "set"), 60)
