"""The lines of a data set are those of text files, and what is wrong with it is named."""

import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from datamodules.text.sources import SPLITS, DatasetText, TextFiles
from sextant.errors import InputError
from tests.datamodules.text.small_texts import OTHER_BREAKS, read_all, texts, words, write_splits
from tests.filesystem import cut_in_half, listing, snapshot

LINES = ["one two", "", " = A title = ", "\tthree \u00e9\u4e16\u3000four", "", "", "five\u2028six\x85seven", "<unk>"]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The library ``datasets`` in a working folder and a home of its own, without network."""
    import datasets
    import huggingface_hub.constants

    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    for name in ("HF_CACHE_HOME", "HF_DATASETS_CACHE", "HF_MODULES_CACHE", "DOWNLOADED_DATASETS_PATH"):
        monkeypatch.setattr(datasets.config, name, home / name)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    def refuse(self: socket.socket, address: object) -> None:
        raise AssertionError(f"{address} was asked for over the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    datasets.disable_progress_bars()
    yield datasets
    datasets.enable_progress_bars()
    assert listing(home) == listing(here) == [], "something was written outside of the cache"


def rows(datasets: Any, lines: list[Any]) -> Any:
    return datasets.Dataset.from_dict({"text": lines})


def save_parquet(folder: Path, datasets: Any, **splits: list[Any]) -> Path:
    folder.mkdir(parents=True)
    for name, lines in splits.items():
        rows(datasets, lines).to_parquet(folder / f"{name}.parquet")
    return folder


def saved_to_disk(datasets: Any, lines: dict[str, list[str]], folder: Path) -> None:
    datasets.DatasetDict({name: rows(datasets, split) for name, split in lines.items()}).save_to_disk(folder)


def parquet_files(datasets: Any, lines: dict[str, list[str]], folder: Path) -> None:
    save_parquet(folder, datasets, **lines)


def parquet_files_as_on_the_hub(datasets: Any, lines: dict[str, list[str]], folder: Path) -> None:
    save_parquet(folder / "data", datasets, **{f"{name}-00000-of-00001": split for name, split in lines.items()})


def several_parquet_files(datasets: Any, lines: dict[str, list[str]], folder: Path) -> None:
    parts = {}
    for name, split in lines.items():
        for k in range(3):
            parts[f"{name}-{k:05}-of-00003"] = split[3 * k :] if k == 2 else split[3 * k : 3 * k + 3]
    save_parquet(folder / "data", datasets, **parts)


def arrow_files(datasets: Any, lines: dict[str, list[str]], folder: Path) -> None:
    saved_to_disk(datasets, lines, folder / "saved")
    for name in lines:
        (file,) = (folder / "saved" / name).glob("*.arrow")
        file.rename(folder / f"{name}.arrow")
    shutil.rmtree(folder / "saved")


@pytest.mark.parametrize(
    "save", [saved_to_disk, parquet_files, parquet_files_as_on_the_hub, several_parquet_files, arrow_files]
)
@pytest.mark.parametrize("end", ["", "\n"])
def test_set_gives_the_lines_of_text_files(
    hub: Any, tmp_path: Path, save: Callable[[Any, dict[str, list[str]], Path], None], end: str
) -> None:
    content = {"train": LINES, "validation": LINES[::-1], "test": LINES[3:] * 2}
    save(hub, {name: [line + end for line in lines] for name, lines in content.items()}, tmp_path / "set")
    before = snapshot(tmp_path / "set")
    found = DatasetText(str(tmp_path / "set"), None, tmp_path / "cache")
    files = TextFiles(
        write_splits(
            tmp_path / "files", **{s.replace("validation", "val"): "\n".join(k).encode() for s, k in content.items()}
        )
    )
    assert list(found.splits) == list(files.splits) == list(SPLITS)
    for split in SPLITS:
        assert texts(found, split) == texts(files, split)
        assert sum(size for _, size in found.lines(split)) == found.size(split)
        assert str(tmp_path / "set") in found.splits[split]
    assert snapshot(tmp_path / "set") == before


@pytest.mark.parametrize("end", ["", "\n"])
def test_row_may_hold_several_lines(hub: Any, tmp_path: Path, end: str) -> None:
    content = ["one\ntwo", "", "three\n\n\nfour", "five", "\nsix"]
    saved_to_disk(hub, {"train": [row + end for row in content]}, tmp_path / "set")
    found = DatasetText(str(tmp_path / "set"), None, tmp_path / "cache")
    assert texts(found) == ["one", "two", "", "three", "", "", "four", "five", "", "six"]
    assert sum(size for _, size in found.lines("train")) == found.size("train") == len(content)


def test_rows_that_end_in_blank_lines_keep_them(hub: Any, tmp_path: Path) -> None:
    saved_to_disk(hub, {"train": ["one\n\n", "\n", "\n\n", "two\r\n"]}, tmp_path / "set")
    assert texts(DatasetText(str(tmp_path / "set"), None, tmp_path / "cache")) == ["one", "", "", "", "", "two"]


@pytest.mark.parametrize("character", OTHER_BREAKS)
def test_other_separators_are_not_line_ends_in_rows_either(hub: Any, tmp_path: Path, character: str) -> None:
    saved_to_disk(hub, {"train": [f"a{character}b\nc"]}, tmp_path / "set")
    assert words(DatasetText(str(tmp_path / "set"), None, tmp_path / "cache")) == [["a", "b"], ["c"]]


def test_more_rows_than_are_read_at_a_time_come_in_order(hub: Any, tmp_path: Path) -> None:
    lines = [f"line {k}" for k in range(2501)]
    saved_to_disk(hub, {"train": lines}, tmp_path / "set")
    assert texts(DatasetText(str(tmp_path / "set"), None, tmp_path / "cache")) == lines


@pytest.mark.parametrize("name", ["validation", "valid", "val", "dev"])
def test_validation_split_of_a_set_has_several_names(hub: Any, tmp_path: Path, name: str) -> None:
    saved_to_disk(hub, {"train": ["a"], name: ["b"], "unsupervised": ["c"]}, tmp_path / "set")
    found = DatasetText(str(tmp_path / "set"), None, tmp_path / "cache")
    assert list(found.splits) == ["train", "val"]
    assert texts(found, "val") == ["b"]


def test_other_columns_of_a_set_do_not_matter(hub: Any, tmp_path: Path) -> None:
    table = hub.Dataset.from_dict({"id": [1, 2], "text": ["a", "b"], "date": [None, "today"]})
    hub.DatasetDict({"train": table}).save_to_disk(tmp_path / "set")
    assert texts(DatasetText(str(tmp_path / "set"), None, tmp_path / "cache")) == ["a", "b"]


def test_set_without_a_column_of_text_is_named_with_the_columns_that_it_has(hub: Any, tmp_path: Path) -> None:
    good = rows(hub, ["a"])
    bad = hub.Dataset.from_dict({"sentence": ["a"], "label": [0]})
    hub.DatasetDict({"train": good, "test": bad}).save_to_disk(tmp_path / "set")
    with pytest.raises(InputError, match="'test' has no column 'text'") as error:
        DatasetText(str(tmp_path / "set"), None, tmp_path / "cache")
    for needed in (str(tmp_path / "set"), "sentence", "label", "data.dataset"):
        assert needed in str(error.value)


@pytest.mark.parametrize("bad", [[None, "a"], ["a", None], [1, 2], [["a", "b"], ["c"]]], ids=str)
def test_column_that_is_not_all_text_is_an_input_error_that_names_the_set(
    hub: Any, tmp_path: Path, bad: list[Any]
) -> None:
    save_parquet(tmp_path / "set", hub, train=bad)
    with pytest.raises(InputError) as error:
        read_all(DatasetText(str(tmp_path / "set"), None, tmp_path / "cache"))
    assert str(tmp_path / "set") in str(error.value)


def test_name_that_the_hub_cannot_be_asked_for_is_an_input_error_that_says_what_to_check(
    hub: Any, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="cannot be loaded") as error:
        DatasetText("Salesforce/wikitext", "wikitext-2-v1", tmp_path / "cache")
    for needed in ("Salesforce/wikitext: ", "data.dataset", "data.dataset_config", "network", "--data.root"):
        assert needed in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("ConnectionError", "Couldn't reach 'some/set' on the Hub (OfflineModeIsEnabled)"),
        ("DatasetNotFoundError", "Dataset 'some/set' doesn't exist on the Hub or cannot be accessed."),
        ("ValueError", "BuilderConfig 'some' not found. Available: ['other']"),
        ("HFValidationError", "Repo id must use alphanumeric chars"),
        ("DatasetGenerationError", "An error occurred while generating the dataset"),
        ("RuntimeError", "Dataset scripts are no longer supported, but found set.py"),
    ],
)
def test_whatever_keeps_a_set_from_being_loaded_is_an_input_error_with_its_reason(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, text: str
) -> None:
    import huggingface_hub.errors

    kinds = {error.__name__: error for error in (ConnectionError, ValueError, RuntimeError)}
    found = kinds.get(kind) or getattr(hub.exceptions, kind, None) or getattr(huggingface_hub.errors, kind)

    def fail(*args: object, **options: object) -> None:
        raise found(f"{text}\nand more lines")

    monkeypatch.setattr(hub, "load_dataset", fail)
    with pytest.raises(InputError) as error:
        DatasetText("some/set", "some", tmp_path / "cache")
    assert str(error.value).startswith("some/set: ")
    assert text in str(error.value)
    assert "\n" not in str(error.value)


def test_name_and_configuration_and_cache_reach_the_hub(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def load(*args: object, **options: object) -> Any:
        asked.append((args, options))
        return hub.DatasetDict({"train": rows(hub, ["a"])})

    monkeypatch.setattr(hub, "load_dataset", load)
    assert texts(DatasetText("some/set", "small", tmp_path / "cache")) == ["a"]
    ((args, options),) = asked
    assert args == ("some/set", "small")
    assert Path(str(options["cache_dir"])).is_relative_to(tmp_path / "cache")


def missing_folder(hub: Any, folder: Path) -> None:
    pass


def empty_folder(hub: Any, folder: Path) -> None:
    folder.mkdir()


def half_a_parquet_file(hub: Any, folder: Path) -> None:
    save_parquet(folder, hub, train=["a"] * 1000)
    cut_in_half(folder / "train.parquet")


def half_an_arrow_file(hub: Any, folder: Path) -> None:
    saved_to_disk(hub, {"train": ["a"] * 1000}, folder)
    (file,) = (folder / "train").glob("*.arrow")
    cut_in_half(file)


def missing_split(hub: Any, folder: Path) -> None:
    saved_to_disk(hub, {"train": ["a"], "test": ["b"]}, folder)
    shutil.rmtree(folder / "test")


def single_table(hub: Any, folder: Path) -> None:
    rows(hub, ["a"]).save_to_disk(folder)


def broken_description(hub: Any, folder: Path) -> None:
    saved_to_disk(hub, {"train": ["a"]}, folder)
    cut_in_half(folder / "dataset_dict.json")


def script(hub: Any, folder: Path) -> None:
    folder.mkdir()
    (folder / f"{folder.name}.py").write_text("class Set: ...")


@pytest.mark.parametrize(
    "make",
    [
        missing_folder,
        empty_folder,
        half_a_parquet_file,
        half_an_arrow_file,
        missing_split,
        single_table,
        broken_description,
        script,
    ],
)
def test_folder_that_holds_no_set_is_an_input_error_that_names_it(
    hub: Any, tmp_path: Path, make: Callable[[Any, Path], None]
) -> None:
    make(hub, tmp_path / "set")
    with pytest.raises(InputError) as error:
        read_all(DatasetText(str(tmp_path / "set"), None, tmp_path / "cache"))
    assert str(error.value).startswith(f"{tmp_path / 'set'}: ")
    assert "data.dataset" in str(error.value)


@pytest.mark.parametrize("save", [saved_to_disk, parquet_files])
def test_fingerprint_of_a_set_changes_with_its_text_alone(
    hub: Any, tmp_path: Path, save: Callable[[Any, dict[str, list[str]], Path], None]
) -> None:
    def fingerprint() -> str:
        return DatasetText(str(tmp_path / "set"), None, tmp_path / "cache").fingerprint

    save(hub, {"train": ["a", "b"], "validation": ["c"]}, tmp_path / "set")
    before = fingerprint()
    assert fingerprint() == before
    shutil.rmtree(tmp_path / "set")
    save(hub, {"train": ["a", "b"], "validation": ["d"]}, tmp_path / "set")
    assert fingerprint() != before
