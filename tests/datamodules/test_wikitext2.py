"""Text becomes the batches that are described, and whatever is wrong with a text, a prompt or a setting is named."""

import functools
import inspect
import itertools
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from datamodules.synthetic import wikitext2 as synthetic_set
from datamodules.text.sources import SPLITS
from datamodules.text.token_stream import EOS, UNK
from datamodules.text.windows import IGNORED
from datamodules.wikitext2 import WikiText2
from sextant.errors import InputError
from sextant.samplers.shuffled import ShuffledBatches
from tests.datamodules.recorder import Recorder, bare_trainer
from tests.filesystem import listing, snapshot

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT.parent / "shared" / "data" / "wikitext-2.zip"
BATCHINGS = ("windows", "columns")

#: Enough for several batches of each split.
SMALL: dict[str, Any] = {
    "batch_size": 4,
    "sequence_length": 8,
    "eval_length": 8,
    "eval_stride": 3,
    "eval_batch_size": 4,
}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache of its own for each test."""
    return tmp_path / "cache"


@pytest.fixture
def make(wikitext2: Path, cache: Path) -> Callable[..., WikiText2]:
    """Make the DataModule on the small text, with other settings where they are given."""
    return lambda **options: WikiText2(**({"root": str(wikitext2), "cache": str(cache)} | SMALL | options))


@pytest.fixture
def prepared(make: Callable[..., WikiText2]) -> Callable[..., WikiText2]:
    """The same, after what a Trainer calls first."""

    def prepare(stage: str, **options: Any) -> WikiText2:
        data = make(**options)
        data.prepare_data()
        data.setup(stage)
        return data

    return prepare


def during(state: str, rank: int = 0, world_size: int = 1) -> Any:
    """A Trainer in a state, as far as a DataModule asks it."""
    flags = dict.fromkeys(("training", "validating", "sanity_checking", "testing", "predicting"), False) | {state: True}
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    return SimpleNamespace(**flags, global_rank=rank, world_size=world_size, strategy=strategy)


def tokens(root: Path, split: str) -> list[str]:
    """The words of a split, read as simply as can be."""
    return (root / f"{split}.txt").read_text().replace("\n", f" {EOS} ").split()


def write_tokens(root: Path, **counts: int) -> Path:
    """Splits of so many tokens, with ``<eos>``."""
    root.mkdir(parents=True, exist_ok=True)
    for split, count in counts.items():
        (root / f"{split}.txt").write_text(" ".join(f"w{k % 5}" for k in range(count - 1)) + "\n")
        assert len(tokens(root, split)) == count
    return root


# Batches


@pytest.mark.parametrize("batching", BATCHINGS)
def test_training_batches_are_words_with_the_words_after_them(
    prepared: Callable[..., WikiText2], wikitext2: Path, batching: str
) -> None:
    data = prepared("fit", batching=batching)
    batches = list(data.train_dataloader())
    assert len(batches) == len(data.train_dataloader()) == (5 if batching == "windows" else 6)
    assert len(batches[0]["input"]) == 4
    for number, batch in enumerate(batches):
        rows, length = batch["input"].shape
        assert batch.keys() == {"input", "target", "index"}
        assert 1 <= rows <= 4
        # 170 words are columns of 42, of which 41 are predicted: 5 steps of 8 and one of 1.
        assert length == (1 if batching == "columns" and number == 5 else 8)
        assert batch["target"].shape == (rows, length)
        assert batch["index"].shape == (rows,)
        assert all(tensor.dtype == torch.int64 for tensor in batch.values())
        assert torch.equal(batch["input"][:, 1:], batch["target"][:, :-1])
        assert (batch["target"] != IGNORED).all()
    text = " ".join(tokens(wikitext2, "train"))
    for batch in batches:
        for given, target in zip(batch["input"].tolist(), batch["target"].tolist(), strict=True):
            assert " ".join(data.vocabulary[k] for k in [*given, target[-1]]) in text


@pytest.mark.parametrize(("stage", "split"), [("fit", "valid"), ("validate", "valid"), ("test", "test")])
@pytest.mark.parametrize("stride", [None, 1, 3, 8])
def test_evaluation_predicts_every_word_but_the_first_once(
    prepared: Callable[..., WikiText2], wikitext2: Path, stage: str, split: str, stride: int | None
) -> None:
    data = prepared(stage, eval_stride=stride)
    predicted: list[int] = []
    for batch in data.val_dataloader() if split == "valid" else data.test_dataloader():
        rows = len(batch["index"])
        assert 1 <= rows <= 4
        assert batch.keys() == {"input", "target", "index"}
        assert batch["input"].shape == batch["target"].shape == (rows, 8)
        assert all(tensor.dtype == torch.int64 for tensor in batch.values())
        predicted += batch["target"][batch["target"] != IGNORED].tolist()
    assert [data.vocabulary[k] for k in predicted] == tokens(wikitext2, split)[1:]


def test_stride_of_evaluation_is_its_length_unless_given(make: Callable[..., WikiText2]) -> None:
    assert make(eval_stride=None).eval_stride == 8
    assert make(eval_stride=None, eval_length=5).eval_stride == 5
    assert make(eval_stride=2).eval_stride == 2


def test_vocabulary_is_that_of_the_training_split_in_every_stage(prepared: Callable[..., WikiText2]) -> None:
    for stage in ("fit", "validate", "test"):
        data = prepared(stage)
        assert data.vocabulary[:3] == [UNK, "word0", "word1"]
        assert len(data.vocabulary) == 14


def test_min_count_makes_rare_words_of_the_training_text_unknown(
    tmp_path: Path, make: Callable[..., WikiText2]
) -> None:
    root = tmp_path / "text"
    write_tokens(root, valid=20)
    (root / "train.txt").write_text("a b a c b a\n" * 20 + "d\n")
    data = make(root=str(root), min_count=2)
    data.setup("fit")
    assert data.vocabulary == ["a", "b", "c", EOS, UNK]


@pytest.mark.parametrize("batching", BATCHINGS)
def test_units_are_the_words_that_are_predicted(prepared: Callable[..., WikiText2], batching: str) -> None:
    data = prepared("fit", batching=batching)
    batches = list(data.train_dataloader())
    assert [data.units(batch) for batch in batches] == [{"tokens": batch["input"].numel()} for batch in batches]
    # 20 windows of 8; four columns of 42, all but the first of each.
    assert sum(data.units(batch)["tokens"] for batch in batches) == (160 if batching == "windows" else 4 * 41)


@pytest.mark.parametrize("batching", BATCHINGS)
def test_training_samples_are_named_by_file_and_first_word(
    prepared: Callable[..., WikiText2], wikitext2: Path, batching: str
) -> None:
    data = prepared("fit", batching=batching)
    loader = data.train_dataloader()
    data.trainer = during("training")
    assert_named_by_first_word(data, loader, wikitext2, "train")


@pytest.mark.parametrize(
    ("stage", "state", "split"),
    [
        ("fit", "sanity_checking", "valid"),
        ("fit", "validating", "valid"),
        ("validate", "validating", "valid"),
        ("test", "testing", "test"),
    ],
)
def test_evaluation_samples_are_named_by_file_and_first_word(
    prepared: Callable[..., WikiText2], wikitext2: Path, stage: str, state: str, split: str
) -> None:
    data = prepared(stage)
    loader = data.test_dataloader() if split == "test" else data.val_dataloader()
    data.trainer = during(state)
    assert_named_by_first_word(data, loader, wikitext2, split)


def assert_named_by_first_word(data: WikiText2, loader: Any, root: Path, split: str) -> None:
    text = tokens(root, split)
    count = 0
    for batch in loader:
        names = data.sample_names(batch)
        for name, row in zip(names, batch["input"].tolist(), strict=True):
            file, number = re.fullmatch(r"(.*), from word (\d+)", name).groups()  # type: ignore[union-attr]
            assert file == str(root / f"{split}.txt")
            inside = text[int(number) - 1 :][: len(row)]
            assert [data.vocabulary[k] for k in row][: len(inside)] == inside
            count += 1
    assert count > 5


@pytest.mark.parametrize("batching", BATCHINGS)
def test_two_processes_share_the_batches_of_one(prepared: Callable[..., WikiText2], batching: str) -> None:
    data = prepared("fit", batching=batching)
    for make_loader in (data.train_dataloader, data.val_dataloader):
        data.trainer = None
        whole = list(make_loader())
        shares = []
        for rank in range(2):
            data.trainer = during("training", rank, world_size=2)
            shares.append(list(make_loader()))
        for batch, *parts in zip(whole, *shares, strict=True):
            for rank, part in enumerate(parts):
                for name, tensor in batch.items():
                    assert torch.equal(part[name], tensor[rank::2])


@pytest.mark.parametrize("batching", BATCHINGS)
def test_workers_give_the_same_batches(prepared: Callable[..., WikiText2], batching: str) -> None:
    alone, others = (prepared("fit", batching=batching, num_workers=n, seed=3) for n in (0, 1))
    torch.testing.assert_close(list(others.train_dataloader()), list(alone.train_dataloader()), rtol=0, atol=0)


def test_seed_changes_the_windows_and_columns_have_no_order_to_change(prepared: Callable[..., WikiText2]) -> None:
    def indices(**options: Any) -> list[list[int]]:
        return [batch["index"].tolist() for batch in prepared("fit", **options).train_dataloader()]

    assert indices(seed=1) == indices(seed=1) != indices(seed=2)
    assert indices(seed=1, batching="columns") == indices(seed=2, batching="columns")


# Resuming


def fit(data: WikiText2, folder: Path, epochs: int) -> Recorder:
    recorder = Recorder()
    bare_trainer(folder, max_epochs=epochs).fit(recorder, datamodule=data)
    return recorder


@pytest.mark.parametrize("batching", BATCHINGS)
def test_position_after_each_batch_says_what_is_left_to_train_on(
    make: Callable[..., WikiText2], prepared: Callable[..., WikiText2], tmp_path: Path, batching: str
) -> None:
    recorder = fit(make(batching=batching, seed=5), tmp_path, epochs=3)
    count = 5 if batching == "windows" else 6
    assert len(recorder.batches) == 3 * count
    assert recorder.positions == [
        {"epoch": k // count, "done": [[k % count, 1]] if k % count else []} for k in range(1, 3 * count + 1)
    ]
    resumed = prepared("fit", batching=batching, seed=5)
    for k, position in enumerate(recorder.positions[:-1], 1):
        resumed.load_state_dict(position)
        assert resumed.state_dict() == position
        rest = [batch["index"].tolist() for batch in resumed.train_dataloader()]
        assert rest == recorder.batches[k : k // count * count + count]
        assert len([*resumed.val_dataloader()]) == 4, "validation is always whole"


@pytest.mark.parametrize("batching", BATCHINGS)
def test_epochs_after_the_one_that_was_resumed_are_whole(prepared: Callable[..., WikiText2], batching: str) -> None:
    whole, resumed = (prepared("fit", batching=batching) for _ in range(2))
    whole.load_state_dict({"epoch": 4, "done": []})
    resumed.load_state_dict({"epoch": 3, "done": [[2, 1]]})
    loader = resumed.train_dataloader()
    sampler = loader.sampler
    assert isinstance(sampler, ShuffledBatches)
    sampler.set_epoch(4)
    torch.testing.assert_close(list(loader), list(whole.train_dataloader()), rtol=0, atol=0)


def test_epochs_of_windows_have_other_borders_and_those_of_columns_the_same(
    make: Callable[..., WikiText2], tmp_path: Path
) -> None:
    windows = fit(make(batching="windows"), tmp_path, epochs=3).batches
    epochs = [sorted(itertools.chain(*windows[k : k + 5])) for k in (0, 5, 10)]
    assert len({epoch[0] % 8 for epoch in epochs}) > 1
    columns = fit(make(batching="columns"), tmp_path, epochs=2).batches
    assert columns[:6] == columns[6:]


# Settings


@pytest.mark.parametrize("key", ["batch_size", "eval_batch_size", "sequence_length", "eval_length", "min_count"])
@pytest.mark.parametrize("value", [0, -3])
def test_number_below_one_is_an_input_error_that_names_the_setting(
    make: Callable[..., WikiText2], key: str, value: int
) -> None:
    with pytest.raises(InputError, match=rf"data\.{key} is {value}; it must be 1 or more"):
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
    with pytest.raises(InputError, match=rf"data\.eval_stride is {stride}") as error:
        make(eval_stride=stride)
    assert "data.eval_length (8)" in str(error.value)


def test_smallest_settings_are_accepted(prepared: Callable[..., WikiText2]) -> None:
    ones = dict.fromkeys(("batch_size", "eval_batch_size", "sequence_length", "eval_length", "eval_stride"), 1)
    for batching in BATCHINGS:
        data = prepared("fit", batching=batching, **ones)
        assert next(iter(data.train_dataloader()))["input"].shape == (1, 1)
        assert len(data.val_dataloader()) == 44


def test_settings_that_may_change_are_settings() -> None:
    names = set(inspect.signature(WikiText2).parameters)
    assert WikiText2.free_settings <= names
    learned_from = {"dataset_config", "synthetic", "min_count", "batching", "sequence_length", "batch_size", "seed"}
    assert learned_from <= names
    assert not learned_from & WikiText2.free_settings


# The corpus


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("length", [1, 2, 7])
@pytest.mark.parametrize("batching", BATCHINGS)
def test_text_of_exactly_one_batch_is_enough(
    make: Callable[..., WikiText2], tmp_path: Path, batching: str, batch_size: int, length: int
) -> None:
    # Windows need room for their offset, and columns for the word after each.
    enough = (batch_size + 1) * length if batching == "windows" else batch_size * (length + 1)
    root = write_tokens(tmp_path / "text", train=enough, valid=2)
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
        root = write_tokens(tmp_path / f"{count}", train=count, valid=2)
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


@pytest.mark.parametrize(("stage", "split"), [("fit", "valid"), ("validate", "valid"), ("test", "test")])
def test_split_of_one_word_is_an_input_error_that_names_its_file(
    make: Callable[..., WikiText2], tmp_path: Path, stage: str, split: str
) -> None:
    root = write_tokens(tmp_path / "text", train=200, **{split: 1})
    with pytest.raises(InputError, match="one word is too little") as error:
        make(root=str(root)).setup(stage)
    assert str(root / f"{split}.txt") in str(error.value)


@pytest.mark.parametrize("count", [2, 3, 8, 9, 10])
def test_split_of_two_words_and_more_is_enough_to_evaluate(
    make: Callable[..., WikiText2], tmp_path: Path, count: int
) -> None:
    root = write_tokens(tmp_path / "text", train=200, test=count)
    data = make(root=str(root))
    data.setup("test")
    assert sum((batch["target"] != IGNORED).sum().item() for batch in data.test_dataloader()) == count - 1


@pytest.mark.parametrize(
    ("stage", "needed"), [("fit", {"train", "valid"}), ("validate", {"train", "valid"}), ("test", {"train", "test"})]
)
@pytest.mark.parametrize("missing", SPLITS)
def test_stage_needs_its_split_and_the_training_text_for_the_vocabulary_alone(
    make: Callable[..., WikiText2], tmp_path: Path, stage: str, needed: set[str], missing: str
) -> None:
    root = write_tokens(tmp_path / "text", **{split: 100 for split in SPLITS if split != missing})
    if missing not in needed:
        make(root=str(root)).setup(stage)
        return
    with pytest.raises(InputError, match=f"{missing}.txt") as error:
        make(root=str(root)).setup(stage)
    assert str(root) in str(error.value)
    assert "data.root" in str(error.value)


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_empty_training_text_is_an_input_error_in_every_stage(
    make: Callable[..., WikiText2], tmp_path: Path, stage: str
) -> None:
    root = write_tokens(tmp_path / "text", valid=100, test=100)
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


def test_single_text_file_is_cut_into_splits(make: Callable[..., WikiText2], tmp_path: Path) -> None:
    file = tmp_path / "book.txt"
    file.write_text("".join(f"line {k} of it\n" for k in range(100)))
    data = make(root=str(file))
    data.setup("fit")
    first_valid = next(iter(data.val_dataloader()))["input"][0, :5].tolist()
    # The number of the line is no word of the training text.
    assert [data.vocabulary[k] for k in first_valid] == ["line", UNK, "of", "it", EOS]
    data.setup("test")
    assert sum((batch["target"] != IGNORED).sum().item() for batch in data.test_dataloader()) == 24
    data.trainer = during("testing")
    assert data.sample_names({"index": torch.tensor([1])}) == [f"{file}, from word 4"]


def test_set_gives_the_batches_of_text_files_and_is_taken_instead_of_the_root(
    prepared: Callable[..., WikiText2], wikitext2: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    folder = tmp_path / "set"
    folder.mkdir()
    for split, name in zip(SPLITS, ("train", "validation", "test"), strict=True):
        lines = (wikitext2 / f"{split}.txt").read_text().splitlines(keepends=True)
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


# The synthetic set


@pytest.fixture
def small_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    small = functools.partial(synthetic_set.make, train=400, valid=60, test=50)
    monkeypatch.setattr(synthetic_set, "make", small)


@pytest.mark.usefixtures("small_sample")
def test_sample_set_is_made_in_the_cache_and_says_what_can_be_reached(
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


@pytest.mark.usefixtures("small_sample")
def test_sample_set_is_not_made_unless_it_is_asked_for(make: Callable[..., WikiText2], cache: Path) -> None:
    data = make()
    assert not data.synthetic
    data.prepare_data()
    make(synthetic=True)
    assert not cache.exists()


# Prompts


def write_prompts(folder: Path, content: bytes) -> str:
    file = folder / "prompts.txt"
    file.write_bytes(content)
    return str(file)


def test_prompt_is_one_batch_and_is_named_by_its_setting(prepared: Callable[..., WikiText2]) -> None:
    data = prepared("predict", prompt=" The  game <eos> = ")
    (batch,) = data.predict_dataloader()
    assert batch.keys() == {"prompt", "index"}
    assert [text.split() for text in batch["prompt"]] == [["The", "game", EOS, "="]]
    assert batch["index"].tolist() == [0]
    data.trainer = during("predicting")
    assert data.sample_names(batch) == ["prompt"]


@pytest.mark.parametrize("count", [1, 2, 3, 40])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("last", [True, False])
def test_prompts_of_a_file_come_one_by_one_in_order_with_their_lines(
    prepared: Callable[..., WikiText2], tmp_path: Path, count: int, end: str, bom: bytes, last: bool
) -> None:
    prompts = [f"prompt number {k} \u4e16" for k in range(count)]
    content = bom + (end.join(f" {prompt} " for prompt in prompts) + end * last).encode()
    file = write_prompts(tmp_path, content)
    data = prepared("predict", prompts=file)
    batches = list(data.predict_dataloader())
    data.trainer = during("predicting")
    assert [batch["prompt"] for batch in batches] == [[prompt] for prompt in prompts]
    assert [batch["index"].tolist() for batch in batches] == [[k] for k in range(count)]
    assert all(batch["index"].dtype == torch.int64 for batch in batches)
    assert [data.sample_names(batch) for batch in batches] == [[f"{file}:{k + 1}"] for k in range(count)]


@pytest.mark.parametrize("number", [1, 2, 19, 37, 38, 39, 40])
@pytest.mark.parametrize("blank", ["", "  ", "\t", "\u3000", "\r"])
def test_empty_line_among_the_prompts_is_named_with_file_and_number(
    make: Callable[..., WikiText2], tmp_path: Path, number: int, blank: str
) -> None:
    lines = ["word"] * 40
    lines[number - 1] = blank
    file = write_prompts(tmp_path, "".join(f"{line}\n" for line in lines).encode())
    with pytest.raises(InputError, match="empty") as error:
        make(prompts=file).setup("predict")
    assert str(error.value).startswith(f"{file}:{number}: ")


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf"])
def test_empty_file_of_prompts_is_named(make: Callable[..., WikiText2], tmp_path: Path, content: bytes) -> None:
    file = write_prompts(tmp_path, content)
    with pytest.raises(InputError, match="empty") as error:
        make(prompts=file).setup("predict")
    assert str(error.value).startswith(file)


@pytest.mark.parametrize("prompt", ["", " ", "\n", "\u3000"])
def test_empty_prompt_is_an_input_error_that_names_the_setting(make: Callable[..., WikiText2], prompt: str) -> None:
    with pytest.raises(InputError, match=r"empty \(data\.prompt\)"):
        make(prompt=prompt).setup("predict")


def test_no_prompt_is_an_input_error_that_says_how_to_give_one(make: Callable[..., WikiText2]) -> None:
    with pytest.raises(InputError) as error:
        make().setup("predict")
    assert "--data.prompt=" in str(error.value)
    assert "--data.prompts=" in str(error.value)


@pytest.mark.parametrize("prompt", ["word", ""])
def test_prompt_beside_a_file_of_prompts_is_an_input_error(
    make: Callable[..., WikiText2], tmp_path: Path, prompt: str
) -> None:
    with pytest.raises(InputError, match="not both") as error:
        make(prompt=prompt, prompts=write_prompts(tmp_path, b"word\n")).setup("predict")
    assert "--data.prompt " in str(error.value)
    assert "--data.prompts" in str(error.value)


@pytest.mark.parametrize("name", ["missing.txt", "."])
def test_missing_file_of_prompts_is_named_with_its_setting(
    make: Callable[..., WikiText2], tmp_path: Path, name: str
) -> None:
    with pytest.raises(InputError, match=r"no such file \(data\.prompts\)") as error:
        make(prompts=str(tmp_path / name)).setup("predict")
    assert str(error.value).startswith(str(tmp_path / name))


def test_prompts_that_are_not_utf_8_are_named_with_file_and_offset(
    make: Callable[..., WikiText2], tmp_path: Path
) -> None:
    file = write_prompts(tmp_path, b"word\n" * 30 + b"caf\xe9\n")
    with pytest.raises(InputError, match=r"at byte 153 \(0xe9\)") as error:
        make(prompts=file).setup("predict")
    assert file in str(error.value)


def test_predict_needs_no_corpus_and_builds_nothing(
    prepared: Callable[..., WikiText2], tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("a set was loaded")

    monkeypatch.setattr("datamodules.wikitext2.DatasetText", refuse)
    for options in ({"root": str(tmp_path / "nowhere")}, {"dataset": "Salesforce/wikitext"}):
        data = prepared("predict", prompt="word", **options)
        assert len(list(data.predict_dataloader())) == 1
        assert data.vocabulary == []
    assert not cache.exists()


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_prompts_are_dealt_to_two_processes_or_refused_with_advice_that_helps(
    prepared: Callable[..., WikiText2], tmp_path: Path, count: int
) -> None:
    data = prepared("predict", prompts=write_prompts(tmp_path, b"".join(b"prompt %d\n" % k for k in range(count))))
    found: list[int] = []
    refusal = ""
    for rank in range(2):
        data.trainer = during("predicting", rank, world_size=2)
        try:
            found += [k for batch in data.predict_dataloader() for k in batch["index"].tolist()]
        except InputError as error:
            refusal = str(error)
    if refusal:
        assert "data.batch_size" not in refusal, refusal
    else:
        assert sorted(found) == list(range(count))


def test_too_small_evaluation_batches_for_two_processes_are_refused_by_the_name_of_their_setting(
    prepared: Callable[..., WikiText2],
) -> None:
    data = prepared("validate", eval_batch_size=1)
    data.trainer = during("validating", world_size=2)
    with pytest.raises(InputError, match=r"data\.eval_batch_size 1"):
        data.val_dataloader()


# WikiText-2 itself


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the real WikiText-2 is not in ../shared/data")
def test_published_text_has_its_published_numbers_of_tokens_and_words(
    tmp_path: Path, make: Callable[..., WikiText2]
) -> None:
    with zipfile.ZipFile(PUBLISHED) as archive:
        archive.extractall(tmp_path)
    settings: dict[str, Any] = {"root": str(tmp_path / "wikitext-2"), "eval_length": 128, "eval_stride": 64}
    data = make(**settings, eval_batch_size=64, batch_size=20, sequence_length=35, batching="columns")
    data.setup("fit")
    assert len(data.vocabulary) == len(set(data.vocabulary)) == 33_278
    assert {EOS, UNK, "the", "@-@"} <= set(data.vocabulary)
    # The example's 104,431 rows in steps of 35.
    assert len(data.train_dataloader()) == 2984
    counts = {"train": len(data._sets["train"].columns.flatten())}  # type: ignore[union-attr]
    assert counts["train"] == 2_088_620  # 8 words less than there are
    words: list[np.ndarray] = []
    for stage, loader in (("fit", data.val_dataloader), ("test", data.test_dataloader)):
        data.setup(stage)
        words.append(np.concatenate([b["target"][b["target"] != IGNORED].numpy() for b in loader()]))
    assert [len(split) + 1 for split in words] == [217_646, 245_569]
    windows = make(**settings)
    windows.setup("fit")
    assert len(windows._sets["train"]) == 2_088_628
