"""Whatever is wrong with a text is named, and text may come from several places."""

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from datamodules.synthetic import wikitext2 as synthetic_set
from datamodules.text.sources import FILE_NAMES, SPLITS
from datamodules.text.token_stream import EOS, UNK
from datamodules.text.windows import IGNORED
from datamodules.wikitext2 import WikiText2
from sextant.errors import InputError
from tests.datamodules.text_data import BATCHINGS, during, write_tokens
from tests.filesystem import listing, snapshot


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("length", [1, 2, 7])
@pytest.mark.parametrize("batching", BATCHINGS)
def test_text_of_exactly_one_batch_is_enough(
    make: Callable[..., WikiText2], tmp_path: Path, batching: str, batch_size: int, length: int
) -> None:
    # Windows need room for their offset, and columns for the word after each.
    enough = (batch_size + 1) * length if batching == "windows" else batch_size * (length + 1)
    root = write_tokens(tmp_path / "text", train=enough, val=2)
    data = make(root=str(root), batching=batching, batch_size=batch_size, sequence_length=length)
    data.setup("fit")
    (batch,) = data.train_dataloader()
    assert batch["input"].shape == (batch_size, length)


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("length", [1, 2, 7])
@pytest.mark.parametrize("batching", BATCHINGS)
def test_text_is_either_accepted_and_gives_a_batch_or_refused_with_the_settings_to_lower(
    make: Callable[..., WikiText2], tmp_path: Path, batching: str, batch_size: int, length: int
) -> None:
    for count in range(1, (batch_size + 1) * (length + 1)):
        root = write_tokens(tmp_path / f"{count}", train=count, val=2)
        data = make(root=str(root), batching=batching, batch_size=batch_size, sequence_length=length)
        refusal, shape = "", (0, 0)
        try:
            data.setup("fit")
            shape = next(iter(data.train_dataloader()))["input"].shape
        except InputError as error:
            refusal = str(error)
        if refusal:
            for needed in (f"{root / 'train.txt'}: {count} words", "data.batch_size", "data.sequence_length"):
                assert needed in refusal, f"{count} tokens: {refusal}"
        else:
            assert (1 <= shape[0] <= batch_size) if batching == "windows" else (shape[0] == batch_size)
            assert 1 <= shape[1] <= length


@pytest.mark.parametrize(("stage", "split"), [("fit", "val"), ("validate", "val"), ("test", "test")])
def test_split_of_one_word_is_an_input_error_that_names_its_file(
    make: Callable[..., WikiText2], tmp_path: Path, stage: str, split: str
) -> None:
    root = write_tokens(tmp_path / "text", train=200, **{split: 1})
    with pytest.raises(InputError, match="one word is too little") as error:
        make(root=str(root)).setup(stage)
    assert str(root / FILE_NAMES[split][0]) in str(error.value)


@pytest.mark.parametrize("count", [2, 3, 8, 9, 10])
def test_split_of_two_words_and_more_is_enough_to_evaluate(
    make: Callable[..., WikiText2], tmp_path: Path, count: int
) -> None:
    root = write_tokens(tmp_path / "text", train=200, test=count)
    data = make(root=str(root))
    data.setup("test")
    assert sum((batch["target"] != IGNORED).sum().item() for batch in data.test_dataloader()) == count - 1


@pytest.mark.parametrize(
    ("stage", "needed"), [("fit", {"train", "val"}), ("validate", {"train", "val"}), ("test", {"train", "test"})]
)
@pytest.mark.parametrize("missing", SPLITS)
def test_stage_needs_its_split_and_the_training_text_for_the_vocabulary_alone(
    make: Callable[..., WikiText2], tmp_path: Path, stage: str, needed: set[str], missing: str
) -> None:
    root = write_tokens(tmp_path / "text", **{split: 100 for split in SPLITS if split != missing})
    if missing not in needed:
        make(root=str(root)).setup(stage)
        return
    with pytest.raises(InputError, match=FILE_NAMES[missing][0]) as error:
        make(root=str(root)).setup(stage)
    assert str(root) in str(error.value)
    assert "data.root" in str(error.value)


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_empty_training_text_is_an_input_error_in_every_stage(
    make: Callable[..., WikiText2], tmp_path: Path, stage: str
) -> None:
    root = write_tokens(tmp_path / "text", val=100, test=100)
    (root / "train.txt").write_bytes(b"")
    with pytest.raises(InputError, match="empty") as error:
        make(root=str(root)).setup(stage)
    assert str(root / "train.txt") in str(error.value)


def test_missing_root_is_an_input_error_and_nothing_is_made(
    make: Callable[..., WikiText2], tmp_path: Path, cache: Path
) -> None:
    data = make(root=str(tmp_path / "nowhere"))
    data.prepare_data()
    with pytest.raises(InputError, match=r"data\.root") as error:
        data.setup("fit")
    assert str(tmp_path / "nowhere") in str(error.value)
    assert not cache.exists()


def test_single_text_file_is_divided_into_splits(make: Callable[..., WikiText2], tmp_path: Path) -> None:
    file = tmp_path / "book.txt"
    file.write_text("".join(f"line {k} of it\n" for k in range(100)))
    data = make(root=str(file))
    data.setup("fit")
    first = next(iter(data.val_dataloader()))["input"][0, :5].tolist()
    # The number of the line is no word of the training text.
    assert [data.vocabulary[k] for k in first] == ["line", UNK, "of", "it", EOS]
    data.setup("test")
    assert sum((batch["target"] != IGNORED).sum().item() for batch in data.test_dataloader()) == 24
    data.trainer = during("testing")
    assert data.sample_names({"index": torch.tensor([1])}) == [f"{file}, from word 4"]


def test_data_set_gives_the_batches_of_text_files_and_is_taken_instead_of_the_root(
    prepared: Callable[..., WikiText2], wikitext2: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    folder = tmp_path / "set"
    folder.mkdir()
    for split, name in zip(SPLITS, ("train", "validation", "test"), strict=True):
        lines = (wikitext2 / FILE_NAMES[split][0]).read_text().splitlines(keepends=True)
        datasets.Dataset.from_dict({"text": lines}).to_parquet(folder / f"{name}.parquet")
    found = prepared("fit", dataset=str(folder), root="nowhere")
    files = prepared("fit")
    assert found.vocabulary == files.vocabulary
    for loader, expected in (
        (found.train_dataloader(), files.train_dataloader()),
        (found.val_dataloader(), files.val_dataloader()),
    ):
        torch.testing.assert_close(list(loader), list(expected), rtol=0, atol=0)
    found.trainer = during("validating")
    assert found.sample_names({"index": torch.tensor([2])}) == [f"{folder} (validation), from word 7"]
    assert {name.split("/")[0] for name in listing(cache)} > {"huggingface"}


def test_nothing_in_the_folder_of_the_text_is_written(prepared: Callable[..., WikiText2], wikitext2: Path) -> None:
    before = snapshot(wikitext2)
    for stage in ("fit", "validate", "test"):
        data = prepared(stage)
    assert len(list(data.test_dataloader())) > 1
    assert snapshot(wikitext2) == before


@pytest.fixture
def small_text(monkeypatch: pytest.MonkeyPatch) -> None:
    small = functools.partial(synthetic_set.make, train=400, val=60, test=50)
    monkeypatch.setattr(synthetic_set, "make", small)


@pytest.mark.usefixtures("small_text")
def test_synthetic_text_is_made_in_the_cache_and_says_what_can_be_reached(
    prepared: Callable[..., WikiText2], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("datamodules.wikitext2.rank_zero_info", said.append)
    data = prepared("fit", synthetic=True, root="nowhere", dataset="no/set")
    assert data.synthetic
    assert data.root == cache / synthetic_set.FOLDER
    assert listing(data.root) == ["test.txt", "train.txt", "valid.txt"]
    assert next(iter(data.train_dataloader()))["input"].shape == (4, 8)
    (message,) = said
    assert f"{synthetic_set.perplexity():.2f}" in message
    before = snapshot(data.root)
    prepared("test", synthetic=True)
    assert snapshot(data.root) == before
    assert len(said) == 1


@pytest.mark.usefixtures("small_text")
def test_synthetic_text_is_not_made_unless_it_is_asked_for(make: Callable[..., WikiText2], cache: Path) -> None:
    data = make()
    assert not data.synthetic
    data.prepare_data()
    make(synthetic=True)
    assert not cache.exists()
