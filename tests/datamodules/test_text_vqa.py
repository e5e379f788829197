"""Questions about images become the batches that are described, and whatever is wrong with one is named."""

import inspect
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from datamodules.images.image_file import read_image
from datamodules.synthetic import text_vqa as synthetic_set
from datamodules.text_vqa import TextVQA
from datamodules.vqa import questions as question_set
from datamodules.vqa.dataset import apart, together
from datamodules.vqa.scoring import score
from sextant.errors import InputError
from tests.datamodules.faults import cut_in_half, listing, noise, save_images, snapshot
from tests.datamodules.recorder import Recorder, bare_trainer

COUNTS = {"train": 156, "val": 91, "test": 13}
ANSWERS = {"red", "green", "blue", "yellow", "disc", "ring", "cross", "1", "2", "3", "4", "yes", "no"}
STAGES = {"train": "fit", "val": "validate", "test": "test"}
SMALL: dict[str, Any] = {"batch_size": 12, "max_question_length": 16, "image_size": 16}
WORDS = ("what", "is", "it", "red", "?")


@pytest.fixture(scope="module")
def make(text_vqa: Path, cache: Path) -> Callable[..., TextVQA]:
    """Make the DataModule on the small data set, with other settings where they are given."""
    places = {"dataset": str(text_vqa / "data"), "tokenizer": str(text_vqa), "cache": str(cache)}
    return lambda **options: TextVQA(**(places | SMALL | options))


@pytest.fixture(scope="module")
def prepared(make: Callable[..., TextVQA]) -> Callable[..., TextVQA]:
    """The same, after what a Trainer calls first."""

    def prepare(stage: str, **options: Any) -> TextVQA:
        data = make(**options)
        data.prepare_data()
        data.setup(stage)
        return data

    return prepare


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four training and two validation questions about images in files, and a tokenizer; a test may damage them."""
    root = tmp_path / "data"
    save_images(root, 6, "png")
    (root / "vocab.txt").write_text("\n".join(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS)))
    for split, numbers in {"train": range(4), "val": range(4, 6)}.items():
        rows = [
            {"image": f"image_{k}.png", "question": "what is it?", "answers": [f"answer {k % 2}"] * 10} for k in numbers
        ]
        write_rows(root, split, rows)
    return root


def write_rows(root: Path, split: str, rows: list[dict[str, Any]]) -> None:
    (root / f"{split}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def read_rows(root: Path, split: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / f"{split}.jsonl").read_text().splitlines()]


def data_in(root: Path, stage: str, **options: Any) -> TextVQA:
    """The questions in a folder, with a cache of their own."""
    places = {"root": str(root), "tokenizer": str(root / "vocab.txt"), "cache": str(root.parent / "cache")}
    data = TextVQA(**(places | SMALL | options))
    data.prepare_data()
    data.setup(stage)
    return data


def during(state: str, rank: int = 0, world_size: int = 1) -> Any:
    """A Trainer in a state, as far as a DataModule asks it."""
    flags = dict.fromkeys(("training", "validating", "sanity_checking", "testing", "predicting"), False) | {state: True}
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    return SimpleNamespace(**flags, global_rank=rank, world_size=world_size, strategy=strategy)


def loader_of(data: TextVQA, split: str) -> Any:
    return {"train": data.train_dataloader, "val": data.val_dataloader, "test": data.test_dataloader}[split]()


def indices(loader: Iterable[dict[str, Any]]) -> list[list[int]]:
    return [batch["index"].tolist() for batch in loader]


def epoch_of(data: TextVQA, epoch: int, rank: int = 0, world_size: int = 1) -> list[list[int]]:
    """The training batches of a whole epoch."""
    data.trainer = during("training", rank, world_size)
    data.load_state_dict({"epoch": epoch, "done": []})
    return list(data.train_dataloader().sampler)


def published_rows(text_vqa: Path, split: str) -> list[dict[str, Any]]:
    """What is in the files, with images as their contents."""
    name = {"val": "validation"}.get(split, split)
    rows = datasets.Dataset.from_parquet(str(text_vqa / "data" / f"{name}-00000-of-00001.parquet"))
    return rows.cast_column("image", datasets.Image(decode=False)).to_list()


# Batches


@pytest.mark.parametrize(("stage", "split"), [("fit", "train"), ("fit", "val"), ("validate", "val"), ("test", "test")])
def test_batches_have_the_fields_that_are_documented(
    prepared: Callable[..., TextVQA], text_vqa: Path, stage: str, split: str
) -> None:
    data = prepared(stage)
    rows = published_rows(text_vqa, split)
    seen = []
    for raw in loader_of(data, split):
        batch = data.transform(raw, training=split == "train")
        count = len(batch["index"])
        assert 1 <= count <= 12
        assert batch.keys() == {
            *("image", "question", "text", "index", "label", "answers", "scores", "annotators"),
        }
        assert (batch["image"].shape, batch["image"].dtype) == ((count, 3, 16, 16), torch.float32)
        assert [batch[key].dtype for key in ("index", "label")] == [torch.int64] * 2
        tokens, token_counts = batch["question"]
        assert tokens.shape == (count, token_counts.max())
        assert batch["answers"].data.shape == batch["scores"].data.shape == (count, batch["answers"].lengths.max())
        for place, index in enumerate(batch["index"].tolist()):
            row = rows[index]
            assert batch["text"][place] == row["question"]
            assert batch["annotators"][place] == row["answers"]
            assert token_counts[place] == len(row["question"].split()) + 3  # with [CLS], [SEP] and the question mark
            right = max(row["answers"], key=row["answers"].count)
            assert data.data_spec().labels[batch["label"][place]] == right
            numbers = batch["answers"].data[place, : batch["answers"].lengths[place]].tolist()
            worth = {
                data.data_spec().labels[number]: value
                for number, value in zip(numbers, batch["scores"].data[place].tolist(), strict=False)
            }
            assert worth == pytest.approx({one: score(row["answers"].count(one), 10) for one in set(row["answers"])})
            for key in ("question", "answers", "scores"):
                assert (batch[key].data[place, batch[key].lengths[place] :] == 0).all()
        seen += batch["index"].tolist()
    assert sorted(seen) == list(range(COUNTS[split]))


def test_vocabulary_is_that_of_the_training_answers_in_every_stage(prepared: Callable[..., TextVQA]) -> None:
    vocabularies = [prepared(stage).data_spec().labels for stage in ("fit", "validate", "test")]
    assert vocabularies[0][0] == "<unk>"
    assert set(vocabularies[0][1:]) == ANSWERS
    assert vocabularies[0][1:3] == ("no", "yes")  # the most frequent ones
    assert vocabularies[1] == vocabularies[2] == vocabularies[0]
    assert set(prepared("fit", min_count=10).data_spec().labels) == {"<unk>", "yes", "no"}


def test_vocabulary_from_a_file_needs_no_training_questions(
    prepared: Callable[..., TextVQA], text_vqa: Path, tmp_path: Path
) -> None:
    (tmp_path / "answers.txt").write_text("<unk>\nred\nyes\n")
    shutil.copytree(text_vqa / "data", tmp_path / "data")
    (tmp_path / "data" / "train-00000-of-00001.parquet").unlink()
    options = {"dataset": str(tmp_path / "data"), "cache": str(tmp_path / "cache")}
    data = prepared("validate", **options, answers=str(tmp_path / "answers.txt"))
    assert data.data_spec().labels == ("<unk>", "red", "yes")
    labels = torch.cat([batch["label"] for batch in data.val_dataloader()])
    assert labels.unique().tolist() == [0, 1, 2]
    with pytest.raises(InputError, match="there is no split train but validation, test"):
        prepared("validate", **options)


def test_tokens_are_counted_in_every_stage(prepared: Callable[..., TextVQA], text_vqa: Path) -> None:
    count = len((text_vqa / "vocab.txt").read_text().splitlines())
    assert [prepared(stage).data_spec().input_sizes["tokenizer"] for stage in ("fit", "test", "predict")] == [count] * 3


def test_workers_give_the_same_batches(prepared: Callable[..., TextVQA]) -> None:
    plain, worked = (list(prepared("test", num_workers=workers).test_dataloader()) for workers in (0, 2))
    assert indices(worked) == indices(plain)
    for one, other in zip(plain, worked, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one["image"], other["image"], strict=True))
        assert torch.equal(one["scores"].data, other["scores"].data)


# The transform


def one_batch(*images: Tensor) -> dict[str, Any]:
    return {"image": together(images)}


def test_normalization_is_flavas(make: Callable[..., TextVQA]) -> None:
    levels = [torch.full((3, 16, 16), value, dtype=torch.uint8) for value in (0, 128, 255)]
    image = make().transform(one_batch(*levels), training=False)["image"]
    for level, value in zip(image, (0, 128, 255), strict=True):
        exact = (value / 255 - np.array(OPENAI_CLIP_MEAN)) / np.array(OPENAI_CLIP_STD)
        np.testing.assert_allclose(level[:, 5, 7].numpy(), exact, atol=1e-6)


SIZES = [(16, 16), (64, 64), (50, 21), (9, 120), (3, 5), (1, 1)]


@pytest.mark.parametrize("training", [False, True])
def test_images_of_any_size_are_resized_as_torchvision_does(make: Callable[..., TextVQA], training: bool) -> None:
    images = [torch.from_numpy(noise(k, 3, *size)) for k, size in enumerate(SIZES)]
    found = make().transform(one_batch(*images), training=training)["image"]
    resize = v2.Resize((16, 16), v2.InterpolationMode.BICUBIC, antialias=True)
    normalize = v2.Normalize(OPENAI_CLIP_MEAN, OPENAI_CLIP_STD)
    for image, result in zip(images, found, strict=True):
        expected = normalize(v2.functional.to_dtype(resize(image), torch.float32, scale=True))
        torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("size", SIZES)
def test_resized_image_is_pillows_too(make: Callable[..., TextVQA], size: tuple[int, int]) -> None:
    pixels = noise(0, *size, 3) // 2 + 64  # nothing is cut off at black and white between the two directions
    data = make()
    image = data.transform(one_batch(torch.from_numpy(pixels.transpose(2, 0, 1))), training=False)["image"]
    expected = np.asarray(Image.fromarray(pixels).resize((16, 16), Image.Resampling.BICUBIC), int)
    found = data.to_images(image)[0].numpy().transpose(1, 2, 0)
    assert abs(found - expected).max() <= 1


def test_to_images_undoes_the_normalization_of_every_shade(make: Callable[..., TextVQA]) -> None:
    shades = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16).expand(3, 16, 16)
    data = make()
    images = data.to_images(data.transform(one_batch(shades, shades.flip(1)), training=False)["image"])
    assert images.dtype == torch.uint8
    assert torch.equal(images, torch.stack([shades, shades.flip(1)]))
    beyond = data.to_images(torch.tensor([-100.0, 100.0]).reshape(1, 1, 1, 2).expand(1, 3, 1, 2))
    assert beyond[0, 0, 0].tolist() == [0, 255]


@pytest.mark.parametrize("fixed_length", [False, True])
def test_fixed_length_pads_every_question_to_the_limit(prepared: Callable[..., TextVQA], fixed_length: bool) -> None:
    data = prepared("test", fixed_length=fixed_length)
    for raw in data.test_dataloader():
        tokens, lengths = data.transform(raw, training=False)["question"]
        longest = int(lengths.max())
        assert tokens.shape[1] == (16 if fixed_length else longest)
        assert longest < 16
        assert torch.equal(tokens[:, :longest], raw["question"].data)
        assert (tokens[:, longest:] == 0).all()
        assert torch.equal(lengths, raw["question"].lengths)


# Order


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_every_training_question_comes_once_an_epoch_in_batches_of_the_ranks_share(
    prepared: Callable[..., TextVQA], ranks: int
) -> None:
    data = prepared("fit")
    for epoch in range(3):
        shares = [epoch_of(data, epoch, rank, ranks) for rank in range(ranks)]
        assert len({len(share) for share in shares}) == 1
        batches = [batch for share in shares for batch in share]
        assert max(len(batch) for batch in batches) == 12 // ranks
        assert sorted(index for batch in batches for index in batch) == list(range(156))
        assert len(batches) < 1.5 * 156 / (12 // ranks)


def padding(data: TextVQA) -> float:
    """The share of padding in the questions, the mean of some epochs."""
    lengths = data._sets["train"].lengths
    batches = [batch for epoch in range(5) for batch in epoch_of(data, epoch)]
    return 1 - 5 * lengths.sum() / sum(lengths[batch].max() * len(batch) for batch in batches)


def test_batches_of_like_length_have_less_padding_than_random_ones(prepared: Callable[..., TextVQA]) -> None:
    wasted = [padding(prepared("fit", padding=share)) for share in (0.0, 0.1, 0.9)]
    assert wasted[0] < 0.02
    assert 0.05 < wasted[1] < 0.2
    assert wasted[2] > 0.25


def test_every_epoch_and_every_seed_has_an_order_of_its_own(prepared: Callable[..., TextVQA]) -> None:
    data = prepared("fit")
    orders = [epoch_of(data, epoch) for epoch in (0, 1, 0)] + [epoch_of(prepared("fit", seed=1), 0)]
    assert orders[0] == orders[2]
    assert orders[1] != orders[0] != orders[3]


@pytest.mark.parametrize(("split", "state"), [("val", "validating"), ("test", "testing")])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_evaluation_covers_a_split_once_with_any_number_of_ranks(
    prepared: Callable[..., TextVQA], split: str, state: str, ranks: int
) -> None:
    data = prepared(STAGES[split])
    seen: list[int] = []
    for rank in range(ranks):
        data.trainer = during(state, rank, ranks)
        seen += [int(index) for batch in loader_of(data, split).sampler for index in batch]
    assert sorted(seen) == list(range(COUNTS[split]))


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_batch_size_that_the_ranks_cannot_share_is_refused_with_one_that_they_can(
    prepared: Callable[..., TextVQA], split: str
) -> None:
    data = prepared(STAGES[split], batch_size=10)
    data.trainer = during("training", 0, 4)
    with pytest.raises(InputError, match=r"data\.batch_size is 10, which 4 processes cannot.* such as 12\."):
        loader_of(data, split)
    data = prepared(STAGES[split], batch_size=12)
    data.trainer = during("training", 0, 4)
    assert len(loader_of(data, split)) > 0


def test_run_can_be_stopped_anywhere_and_gone_on_with(prepared: Callable[..., TextVQA], tmp_path: Path) -> None:
    recorder = Recorder()
    data = prepared("fit", batch_size=48)
    bare_trainer(tmp_path, max_epochs=2, limit_val_batches=0).fit(recorder, datamodule=data)
    steps = len(recorder.batches) // 2
    assert steps >= 4
    for first in (recorder.batches[:steps], recorder.batches[steps:]):
        assert sorted(index for batch in first for index in batch) == list(range(156))
    for done in (1, 3, steps, steps + 2):
        resumed = prepared("fit", batch_size=48)
        resumed.load_state_dict(recorder.positions[done - 1])
        end = steps if done < steps else 2 * steps
        assert indices(resumed.train_dataloader()) == recorder.batches[done:end]


# Questions


@pytest.mark.filterwarnings("error")
def test_questions_that_are_too_long_are_counted_in_a_warning(prepared: Callable[..., TextVQA]) -> None:
    prepared("test", max_question_length=12)
    with pytest.warns(UserWarning, match=r"\(test\): 3 of 13 questions are longer .*max_question_length \(10\)"):
        data = prepared("test", max_question_length=10)
    assert data._sets["test"].lengths.max() == 10


@pytest.mark.parametrize("ocr", [False, True])
def test_words_in_the_image_follow_the_question_if_they_shall(folder: Path, ocr: bool) -> None:
    rows = read_rows(folder, "train")
    rows[2]["ocr_tokens"] = ["RED", "red?"]
    write_rows(folder, "train", rows)
    data = data_in(folder, "fit", ocr=ocr)
    question = [2, *(5, 6, 7, 9), 3]
    assert data._sets["train"].tokens[2].tolist() == question + [8, 8, 9, 3] * ocr


def test_questions_with_other_than_ten_answers_are_counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("datamodules.text_vqa.rank_zero_info", said.append)
    rows = read_rows(folder, "train")
    rows[0]["answers"] = ["one"]
    rows[3]["answers"] = ["one"] * 11
    write_rows(folder, "train", rows)
    data_in(folder, "fit", min_count=1)
    assert [line.partition(": ")[2] for line in said] == [
        "4 questions, 2 of them with other than 10 answers",
        "2 questions",
    ]


def test_images_of_every_mode_are_rgb(folder: Path) -> None:
    color = (200, 60, 30)
    gray = round(0.299 * 200 + 0.587 * 60 + 0.114 * 30)
    plain = Image.new("RGB", (40, 24), color)
    modes = {"gray.png": "L", "palette.gif": "P", "alpha.png": "RGBA", "print.jpg": "CMYK"}
    for name, mode in modes.items():
        plain.convert(mode).save(folder / name)
    rows = read_rows(folder, "train")
    write_rows(folder, "train", [row | {"image": name} for row, name in zip(rows, modes, strict=True)])
    data = data_in(folder, "fit")
    (batch,) = data.train_dataloader()
    images = data.to_images(data.transform(batch, training=True)["image"])
    for index, image in zip(batch["index"].tolist(), images, strict=True):
        expected = [gray] * 3 if [*modes][index] == "gray.png" else color
        np.testing.assert_allclose(image[:, 5:10, 5:10].float().mean((1, 2)), expected, atol=6)


def break_image(folder: Path) -> str:
    cut_in_half(folder / "image_1.png")
    return f"{folder / 'train.jsonl'}:2: the image {folder / 'image_1.png'} cannot be read: "


def remove_image(folder: Path) -> str:
    (folder / "image_1.png").unlink()
    return f"{folder / 'train.jsonl'}:2: there is no image {folder / 'image_1.png'}"


def change_row(folder: Path, **change: Any) -> None:
    rows = read_rows(folder, "train")
    rows[1] |= change
    write_rows(folder, "train", rows)


def empty_question(folder: Path) -> str:
    change_row(folder, question="  ")
    return f"{folder / 'train.jsonl'}:2: the question is empty"


def no_answers(folder: Path) -> str:
    change_row(folder, answers=[])
    return f"{folder / 'train.jsonl'}:2: there is no answer to the question"


def null_answers(folder: Path) -> str:
    change_row(folder, answers=[None, ""])
    return f"{folder / 'train.jsonl'}:2: there is no answer to the question"


@pytest.mark.parametrize("fault", [break_image, remove_image, empty_question, no_answers, null_answers])
def test_question_that_cannot_be_used_is_named_and_left_out_if_it_may_be(
    folder: Path, fault: Callable[[Path], str]
) -> None:
    place = fault(folder)
    with pytest.raises(InputError, match="1 of 4 questions") as error:
        data_in(folder, "fit", min_count=1)
    assert place in str(error.value)
    with pytest.warns(UserWarning, match="1 of 4 questions") as warned:
        data = data_in(folder, "fit", min_count=1, unreadable="skip")
    assert any(place in str(warning.message) for warning in warned)
    (batch,) = data.train_dataloader()
    assert sorted(batch["index"].tolist()) == [0, 1, 2]
    for index, label, image in zip(
        batch["index"].tolist(), batch["label"].tolist(), apart(*batch["image"]), strict=True
    ):
        number = (0, 2, 3)[index]
        assert data.data_spec().labels[label] == f"answer {number % 2}"
        np.testing.assert_array_equal(image.numpy(), noise(number, 64, 64, 3).transpose(2, 0, 1))


def test_validation_answers_that_training_does_not_have_are_unknown(folder: Path) -> None:
    rows = read_rows(folder, "val")
    rows[1]["answers"] = ["something else"] * 10
    write_rows(folder, "val", rows)
    (batch,) = data_in(folder, "validate").val_dataloader()
    by_index = dict(zip(batch["index"].tolist(), batch["label"].tolist(), strict=True))
    assert by_index[1] == 0 != by_index[0]


def test_missing_folder_is_named(tmp_path: Path, text_vqa: Path) -> None:
    data = TextVQA(root=str(tmp_path / "nowhere"), tokenizer=str(text_vqa), cache=str(tmp_path / "cache"))
    data.prepare_data()
    with pytest.raises(InputError, match=r"there is no train split.*data\.root") as error:
        data.setup("fit")
    assert str(tmp_path / "nowhere") in str(error.value)
    assert listing(tmp_path) == []


# Predict


def test_question_about_a_image_is_asked_without_any_data_set(folder: Path, tmp_path: Path) -> None:
    options = {"image": str(folder / "image_5.png"), "question": "What is RED?"}
    data = data_in(tmp_path / "nowhere", "predict", tokenizer=str(folder), **options)
    (batch,) = data.predict_dataloader()
    batch = data.transform(batch, training=False)
    assert batch.keys() == {"image", "question", "text", "index"}
    assert batch["text"] == ["What is RED?"]
    assert batch["question"].data.tolist() == [[2, 5, 6, 8, 9, 3]]
    alone = one_batch(torch.from_numpy(noise(5, 64, 64, 3).transpose(2, 0, 1)))
    assert torch.equal(batch["image"], data.transform(alone, training=False)["image"])
    assert data.data_spec().labels == ()
    data.trainer = during("predicting")
    assert data.sample_names(batch) == [str(folder / "image_5.png")]


@pytest.mark.parametrize(
    ("image", "question"), [("missing.png", "What?"), ("vocab.txt", "What?"), ("image_0.png", " ")]
)
@pytest.mark.parametrize("unreadable", ["error", "skip"])
@pytest.mark.filterwarnings("ignore:.*cannot be used")
def test_question_that_cannot_be_asked_is_named(folder: Path, image: str, question: str, unreadable: str) -> None:
    with pytest.raises(InputError) as error:
        data_in(folder, "predict", image=str(folder / image), question=question, unreadable=unreadable)
    assert str(folder / image) in str(error.value)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
@pytest.mark.parametrize("ranks", [1, 2])
def test_questions_of_a_file_are_asked_in_their_order(folder: Path, suffix: str, ranks: int) -> None:
    order = [3, 1, 1, 5, 0]
    file = folder / f"ask.{suffix}"
    if suffix == "csv":
        file.write_text("question,image\n" + "".join(f"Is it {k}?,image_{k}.png\n" for k in order))
    else:
        rows = [{"question": f"Is it {k}?", "image": f"image_{k}.png"} for k in order]
        file.write_text("\n".join(json.dumps(row) for row in rows))
    data = data_in(folder, "predict", questions=str(file), batch_size=4)
    found: dict[int, str] = {}
    for rank in range(ranks):
        data.trainer = during("predicting", rank, ranks)
        for batch in data.predict_dataloader():
            found |= zip(batch["index"].tolist(), batch["text"], strict=True)
            names = [str(folder / f"image_{order[index]}.png") for index in batch["index"].tolist()]
            assert data.sample_names(batch) == names
    assert [found[k] for k in range(5)] == [f"Is it {k}?" for k in order]


def test_without_questions_the_test_split_is_answered(
    prepared: Callable[..., TextVQA], text_vqa: Path, tmp_path: Path
) -> None:
    shutil.copytree(text_vqa / "data", tmp_path / "data")
    for split in ("train", "validation"):
        (tmp_path / "data" / f"{split}-00000-of-00001.parquet").unlink()
    data = prepared("predict", dataset=str(tmp_path / "data"), cache=str(tmp_path / "cache"))
    batches = list(data.predict_dataloader())
    rows = published_rows(text_vqa, "test")
    assert [text for batch in batches for text in batch["text"]] == [row["question"] for row in rows]
    assert all("label" not in batch for batch in batches)
    data.trainer = during("predicting")
    assert data.sample_names({"index": torch.tensor([4])}) == [f"{tmp_path / 'data'} (test), row 4"]


@pytest.mark.parametrize("state", ["training", "validating", "sanity_checking"])
def test_samples_are_named_by_their_files_in_each_split(folder: Path, state: str) -> None:
    data = data_in(folder, "fit")
    data.trainer = during(state)
    first = 0 if state == "training" else 4
    names = [str(folder / f"image_{first + k}.png") for k in (1, 0)]
    assert data.sample_names({"index": torch.tensor([1, 0])}) == names


def test_samples_without_a_file_are_named_by_their_rows(prepared: Callable[..., TextVQA], text_vqa: Path) -> None:
    data = prepared("test")
    data.trainer = during("testing")
    assert data.sample_names({"index": torch.tensor([12, 0])}) == [
        f"{text_vqa / 'data'} (test), row {k}" for k in (12, 0)
    ]


# What is read and written


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
        for index, image in zip(batch["index"].tolist(), apart(*batch["image"]), strict=True):
            expected = np.asarray(read_image(rows[index]["image"]["bytes"])).transpose(2, 0, 1)
            np.testing.assert_array_equal(image.numpy(), expected)


def test_sample_set_is_made_in_the_cache_and_only_if_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_whole = synthetic_set.make
    monkeypatch.setattr(synthetic_set, "make", lambda destination: make_whole(destination, 12, 12, 12))
    data = TextVQA(cache=str(tmp_path / "cache"))
    data.prepare_data()
    assert not data.synthetic
    assert listing(tmp_path) == []
    data = TextVQA(synthetic=True, cache=str(tmp_path / "cache"), dataset="other", dataset_config="config", **SMALL)
    assert data.synthetic
    data.prepare_data()
    data.setup("fit")
    assert set(data.data_spec().labels) == {"<unk>", *ANSWERS}
    assert len(data._sets["train"]) == 156
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


# Settings


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"batch_size": 0}, r"data\.batch_size is 0; it must be 1"),
        ({"min_count": 0}, r"data\.min_count is 0; it must be 1"),
        ({"image_size": -1}, r"data\.image_size is -1; it must be 1"),
        ({"max_question_length": 2}, r"data\.max_question_length is 2; it must be 3"),
        ({"padding": 1.0}, r"data\.padding is 1\.0; it must be 0 or more and below 1"),
        ({"padding": -0.1}, r"data\.padding is -0\.1"),
        ({"num_workers": -1}, r"data\.num_workers is -1"),
        ({"image": "a.png"}, "either --data.image and --data.question, or --data.questions"),
        ({"question": "What?"}, "either --data.image and --data.question, or --data.questions"),
        ({"image": "a.png", "question": "What?", "questions": "a.csv"}, "either --data.image"),
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
        ({"answers": "missing.txt"}, r"missing\.txt: cannot be read .*data\.answers"),
        ({"min_count": 1000}, r"data\.min_count is 1000"),
        ({"tokenizer": "/no/such/vocab.txt"}, r"/no/such/vocab\.txt: no tokenizer"),
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
    assert TextVQA.free_settings <= inspect.signature(TextVQA).parameters.keys()
    assert not {"min_count", "tokenizer", "image_size", "padding", "batch_size"} & TextVQA.free_settings
