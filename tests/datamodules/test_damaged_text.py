"""However a text file of a data set is damaged, it is read or refused with an InputError."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.images.tiny_imagenet_folder import read_classes, read_train, read_val
from datamodules.images.voc_folder import read_classes as read_voc_classes
from datamodules.images.voc_folder import read_list
from datamodules.speech.corpus import read_transcripts
from datamodules.text.prompts import read_prompts
from datamodules.text.sources import TextFiles
from datamodules.vqa.annotations import read_published, read_rows
from datamodules.vqa.answer_vocabulary import AnswerVocabulary
from datamodules.vqa.questions import QuestionSet
from datamodules.vqa.tokenizer import QuestionTokenizer
from tests.mutations import require_only_input_errors

WNIDS = [f"n0000000{k}" for k in range(3)]


def image(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(file)


@pytest.fixture
def tiny_imagenet_folder(tmp_path: Path) -> Path:
    (tmp_path / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in WNIDS))
    (tmp_path / "words.txt").write_text("".join(f"{wnid}\tname, of it\n" for wnid in WNIDS))
    for wnid in WNIDS:
        image(tmp_path / "train" / wnid / "images" / f"{wnid}_0.JPEG")
        image(tmp_path / "val" / "images" / f"val_{wnid}.JPEG")
    lines = [f"val_{wnid}.JPEG\t{wnid}\t0\t0\t7\t7\n" for wnid in WNIDS]
    (tmp_path / "val" / "val_annotations.txt").write_text("".join(lines))
    return tmp_path


@pytest.mark.parametrize("name", ["wnids.txt", "val/val_annotations.txt"])
@pytest.mark.fuzz
def test_tiny_imagenet(tiny_imagenet_folder: Path, name: str) -> None:
    def read() -> None:
        wnids = list(read_classes(tiny_imagenet_folder))
        read_train(tiny_imagenet_folder, wnids)
        read_val(tiny_imagenet_folder, wnids)

    require_only_input_errors(tiny_imagenet_folder / name, read)


@pytest.mark.fuzz
def test_voc(tmp_path: Path) -> None:
    for name in ("a", "b c", "d.1"):
        image(tmp_path / "JPEGImages" / f"{name}.jpg")
        image(tmp_path / "SegmentationClass" / f"{name}.png")
    file = tmp_path / "train.txt"
    file.write_text("a\nb c\n/JPEGImages/d.1.jpg /SegmentationClass/d.1.png\n")
    require_only_input_errors(file, lambda: read_list(file, tmp_path, "SegmentationClass"))
    file.write_text("sky\nroad\ncar\n")
    require_only_input_errors(file, lambda: read_voc_classes(file))


def read_text_files(file: Path) -> None:
    for source in (TextFiles(file), TextFiles(file.parent)):
        for split in source.splits:
            assert sum(size for _, size in source.lines(split)) == source.size(split)


@pytest.mark.parametrize(
    ("content", "read"),
    [
        ("1-1-0 HELLO WORLD\n1-1-1 \u00c9T\u00c9\n", lambda file: list(read_transcripts([file]))),
        ("once upon\na time\n", lambda file: read_prompts(None, file)),
        ("<unk>\nyes\nno\nstop sign\n", AnswerVocabulary.read),
        ("= Title =\n\n a b <unk> \u00e9\n" * 3, read_text_files),
    ],
    ids=["transcripts", "prompts", "answers", "corpus"],
)
@pytest.mark.fuzz
def test_text_with_a_line_for_each(tmp_path: Path, content: str, read: Callable[[Path], object]) -> None:
    file = tmp_path / "train.txt"
    file.write_text(content)
    require_only_input_errors(file, lambda: read(file))


@pytest.mark.fuzz
def test_vocabulary_of_subwords(tmp_path: Path) -> None:
    file = tmp_path / "vocab.txt"
    file.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nwhat\n##s\n\u00e9\n")

    def read() -> None:
        tokenizer = QuestionTokenizer(str(file), 8)
        (ids,), _ = tokenizer.encode(["what is it, \u00e9s?"])
        assert ids.max() < len(tokenizer)

    require_only_input_errors(file, read)


ROWS = [
    {"image": f"{k}.png", "question": f"what is {k}\u00e9?", "answers": ["red", "it's \u00e9"], "ocr_tokens": ["STOP"]}
    for k in range(2)
]
CSV = 'image,question,answers,ocr_tokens\n0.png,"what, ""this""\nhere?","[""a"", ""b""]",stop\n1.png,who?,c,[]\n'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", "".join(f"{json.dumps(row)}\n" for row in ROWS)),
        ("a.csv", CSV),
        ("a.json", json.dumps({"data": [{"image_id": str(k), "question_id": k} | row for k, row in enumerate(ROWS)]})),
    ],
    ids=["json lines", "csv", "published"],
)
@pytest.mark.fuzz
def test_questions(tmp_path: Path, name: str, content: str) -> None:
    for folder in (tmp_path, tmp_path / "train_images"):
        for k in range(2):
            image(folder / f"{k}.png")
            (folder / f"{k}.png").rename(folder / f"{k}.jpg")
            image(folder / f"{k}.png")
    file = tmp_path / name
    file.write_text(content)

    def read() -> QuestionSet:
        rows = read_published(file, "train", labeled=True) if name == "a.json" else read_rows(file, labeled=True)
        return rows.valid(tmp_path / "cache", labeled=True, invalid_samples="error")

    require_only_input_errors(file, read)
