"""The synthetic questions are answered by their images, and by nothing else."""

import itertools
from collections import Counter, defaultdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from datamodules.images.image_file import read_image
from datamodules.synthetic import text_vqa as synthetic_set
from datamodules.synthetic.text_vqa import COLORS, KINDS, SIZE, WORDINGS, image_free_accuracy
from datamodules.vqa.scoring import ANNOTATORS
from datamodules.vqa.tokenizer import QuestionTokenizer
from tests.filesystem import listing, snapshot

COUNTS = {"train": 24, "validation": 12, "test": 12}  # of each wording
POSSIBLE = {wording: answers for alike, answers in WORDINGS.items() for wording in alike}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A smaller synthetic set than users get, made in the same way."""
    root = tmp_path_factory.mktemp("synthetic") / synthetic_set.FOLDER
    synthetic_set.make(root, *COUNTS.values())
    return root


@pytest.fixture(scope="module")
def splits(root: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of each split, as they are in the files."""
    return {split: pq.read_table(root / "data" / f"{split}-00000-of-00001.parquet").to_pylist() for split in COUNTS}


def right(row: dict[str, Any]) -> str:
    """The answer that most annotators gave."""
    return Counter(row["answers"]).most_common(1)[0][0]


def look(image: bytes) -> tuple[str, str, int]:
    """The color, the kind and the number of the shapes, by the pixels alone."""
    pixels = np.asarray(Image.open(BytesIO(image)), np.float32)
    palette = np.array([*COLORS.values()], np.float32)
    away = np.linalg.norm(pixels[:, :, None] - palette, axis=-1)  # (SIZE, SIZE, colors)
    shown = away.min(-1) < 60
    color = [*COLORS][np.bincount(away.argmin(-1)[shown], minlength=len(palette)).argmax()]
    half = SIZE // 2
    quarters = [shown[y : y + half, x : x + half] for y in (0, half) for x in (0, half)]
    kinds = []
    for quarter in quarters:
        if quarter.sum() < 20:
            continue
        rows, columns = np.nonzero(quarter.any(1))[0], np.nonzero(quarter.any(0))[0]
        shape = quarter[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        y, x = shape.shape[0] // 2, shape.shape[1] // 2
        hollow = shape[y - 2 : y + 3, x - 2 : x + 3].mean() < 0.5
        kinds.append("ring" if hollow else "disc" if shape.mean() > 0.6 else "cross")
    assert len(set(kinds)) == 1
    return color, kinds[0], len(kinds)


def answer(question: str, image: bytes) -> str:
    """What is right of an image."""
    seen = look(image)
    possible = POSSIBLE[question]
    if possible == ("yes", "no"):
        return "yes" if question.rstrip("?").split()[-1] in seen else "no"
    return next(str(one) for one in seen if str(one) in possible)


@pytest.mark.parametrize("split", COUNTS)
def test_every_question_is_answered_right_by_the_pixels(splits: dict[str, list[dict[str, Any]]], split: str) -> None:
    assert len(splits[split]) == COUNTS[split] * len(POSSIBLE)
    for row in splits[split]:
        assert answer(row["question"], row["image"]["bytes"]) == right(row)


@pytest.mark.parametrize("split", COUNTS)
def test_each_answer_of_each_wording_is_right_equally_often(
    splits: dict[str, list[dict[str, Any]]], split: str
) -> None:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in splits[split]:
        counts[row["question"]][right(row)] += 1
    assert counts == {
        wording: Counter(dict.fromkeys(possible, COUNTS[split] // len(possible)))
        for wording, possible in POSSIBLE.items()
    }
    best = sum(max(of.values()) for of in counts.values()) / len(splits[split])  # of all functions of the question
    assert best == pytest.approx(image_free_accuracy())


def test_chance_is_below_what_an_answer_of_each_kind_would_give() -> None:
    assert image_free_accuracy() == pytest.approx((4 * 1 / 4 + 2 * 1 / 3 + 7 * 1 / 2) / 13)


def test_ten_annotators_answer_and_most_are_right_but_not_all(splits: dict[str, list[dict[str, Any]]]) -> None:
    rows = [row for split in splits.values() for row in split]
    assert all(len(row["answers"]) == ANNOTATORS for row in rows)
    assert all(row["answers"].count(right(row)) > ANNOTATORS / 2 for row in rows)
    assert all(set(row["answers"]) <= set(POSSIBLE[row["question"]]) for row in rows)
    wrong = np.mean([1 - row["answers"].count(right(row)) / ANNOTATORS for row in rows])
    assert 0.02 < wrong < 0.1


def test_images_are_noisy_and_all_different(splits: dict[str, list[dict[str, Any]]]) -> None:
    images = [row["image"]["bytes"] for split in splits.values() for row in split]
    assert len(set(images)) == len(images)
    for image in images[:20]:
        opened = read_image(image)
        assert opened.size == (SIZE, SIZE)
        corner = np.asarray(opened, np.float32)[:3, :3]  # no shape reaches it
        assert corner.std() > 3


@pytest.mark.parametrize("wording", ["What color is it?", "What shape is it?", "How many are there?"])
def test_what_is_not_asked_for_is_drawn_too(splits: dict[str, list[dict[str, Any]]], wording: str) -> None:
    seen = [look(row["image"]["bytes"]) for row in splits["train"] if row["question"] == wording]
    assert [len(set(of)) for of in zip(*seen, strict=True)] == [len(COLORS), len(KINDS), 4]


def test_order_does_not_tell_the_answer(splits: dict[str, list[dict[str, Any]]]) -> None:
    questions = [row["question"] for row in splits["train"]]
    assert sum(a == b for a, b in itertools.pairwise(questions)) < len(questions) / 4


def test_vocabulary_has_every_word_of_the_questions(root: Path) -> None:
    tokenizer = QuestionTokenizer(str(root / "vocab.txt"), 16)
    tokens, truncated = tokenizer.encode([*POSSIBLE])
    assert truncated == 0
    assert not any((one == 1).any() for one in tokens)  # [UNK]
    assert len({tuple(one) for one in tokens}) == len(POSSIBLE)


def test_questions_of_several_lengths_are_asked() -> None:
    lengths = {len(wording.split()) for wording in POSSIBLE}
    assert max(lengths) >= 2 * min(lengths)


def small(folder: Path, seed: int = 0) -> dict[str, bytes]:
    synthetic_set.make(folder, 1, 1, 1, seed)
    return {name: (folder / name).read_bytes() for name in listing(folder) if (folder / name).is_file()}


def test_synthetic_set_is_the_same_whenever_it_is_made_and_another_for_another_seed(tmp_path: Path) -> None:
    first = small(tmp_path / "first")
    np.random.default_rng(5).random(3)
    assert small(tmp_path / "second") == first
    assert small(tmp_path / "third", seed=1)["data/train-00000-of-00001.parquet"] not in first.values()
    assert first.keys() == {"vocab.txt", *(f"data/{split}-00000-of-00001.parquet" for split in COUNTS)}


def test_synthetic_set_that_is_there_is_left_alone(tmp_path: Path) -> None:
    small(tmp_path / "data")
    before = snapshot(tmp_path / "data")
    synthetic_set.make(tmp_path / "data", 2, 2, 2)
    assert snapshot(tmp_path / "data") == before


def test_nothing_is_kept_if_making_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = synthetic_set._draw
    calls = itertools.count()

    def stop(*scene: Any) -> bytes:
        if next(calls) == 20:  # after the training split was written
            raise KeyboardInterrupt
        return draw(*scene)

    monkeypatch.setattr(synthetic_set, "_draw", stop)
    with pytest.raises(KeyboardInterrupt):
        synthetic_set.make(tmp_path / "data", 1, 1, 1)
    assert listing(tmp_path) == []
