"""Questions about images from files: TextVQA's annotations as they were published, JSON lines, CSV."""

import csv
import json
import re
import sys
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from datamodules.sources.hub import load_splits
from datamodules.vqa.questions import ImageColumn, ImageFiles, Images, QuestionSet
from sextant.errors import InputError

#: The folder of the images of each split, as TextVQA was published.
FOLDERS = {"train": "train_images", "val": "train_images", "test": "test_images"}
#: The names that a split may have in a set of Hugging Face datasets.
SET_NAMES = {"train": ("train",), "val": ("validation", "val", "valid", "dev"), "test": ("test",)}
COLUMNS = "a question about an image has 'image', 'question' and 'answers' (or 'answer'), and may have 'ocr_tokens'"


def read_split(root: Path, split: str, labeled: bool) -> QuestionSet:
    """Read a split from a folder: ``TextVQA_*_<split>.json``, ``<split>.jsonl`` or ``<split>.csv``.

    Args:
        root: the folder.
        split: ``train``, ``val`` or ``test``.
        labeled: whether answers are needed.

    Raises:
        InputError: there is no such file, or it is malformed.
    """
    published = sorted(file for file in root.glob(f"TextVQA_*_{split}.json") if "OCR" not in file.name)
    if published:
        return read_published(max(published, key=_version), split, labeled)
    for suffix in (".jsonl", ".csv"):
        if (root / f"{split}{suffix}").is_file():
            return read_rows(root / f"{split}{suffix}", labeled)
    raise InputError(
        f"{root}: there is no {split} split: neither TextVQA_0.5.1_{split}.json nor {split}.jsonl nor {split}.csv "
        "(data.root). Get TextVQA from the Hugging Face hub with --data.dataset=lmms-lab/textvqa, or from "
        "https://textvqa.org, give another folder with --data.root, or try the program on generated images first: "
        "add --config configs/synthetic/flava_textvqa.yaml."
    )


def read_published(file: Path, split: str, labeled: bool) -> QuestionSet:
    """Read annotations as TextVQA was published, with the words of ``TextVQA_Rosetta_OCR_*`` beside them if there.

    Raises:
        InputError: the file is malformed.
    """
    rows = _published_rows(file)
    words: dict[str, list[str]] = {}
    for beside in sorted(file.parent.glob(f"TextVQA_*OCR*_{split}.json")):
        rows_beside = _published_rows(beside)
        words |= {str(row.get("image_id")): _words(str(beside), row.get("ocr_tokens")) for row in rows_beside}
    folder = file.parent / FOLDERS[split]
    found = [
        {"image": f"{row.get('image_id', '')}.jpg", "ocr_tokens": words.get(str(row.get("image_id")), [])} | row
        for row in rows
    ]
    return _collect(
        str(file),
        ((f"{file}, question {row.get('question_id', f'{k} of the list')}", row) for k, row in enumerate(found, 1)),
        folder,
        labeled,
    )


def _version(file: Path) -> list[int]:
    """The numbers in a file's name: 0.5.1 comes after 0.5, which by letters it does not."""
    return [int(number) for number in re.findall(r"\d+", file.name)]


def _published_rows(file: Path) -> list[dict[str, Any]]:
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))["data"]
        if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
            return rows
        raise KeyError("data")
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file}: not as TextVQA was published, JSON with a list 'data' ({type(error).__name__}: {error}). The "
            "file may be damaged; get it anew from https://textvqa.org."
        ) from error


def read_rows(file: Path, labeled: bool) -> QuestionSet:
    """Read a file with a question in each row, CSV with a heading or JSON lines.

    A row has ``image``, a path relative to the file's folder; ``question``; ``answers``, a list, which in CSV is
    written as JSON, or ``answer``, a single one; and may have ``ocr_tokens``, a list.

    Args:
        file: CSV if its name ends in ``.csv``, JSON lines otherwise.
        labeled: whether answers are needed.

    Raises:
        InputError: the file is missing or malformed, or a row has no image or question.
    """
    try:
        text = file.read_bytes().decode().removeprefix("\ufeff")
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not UTF-8 at byte {error.start}. Convert the file.") from error
    lines = StringIO(text, newline="")
    rows = _csv_rows(file, lines) if file.suffix.lower() == ".csv" else _json_rows(file, lines)
    return _collect(str(file), rows, file.parent, labeled)


def _csv_rows(file: Path, lines: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    table = csv.DictReader(lines, strict=True)
    begin = 1
    try:
        count = len(table.fieldnames or ())
        begin = table.line_num + 1
        for row in table:
            where = f"{file}:{table.line_num}"
            begin = table.line_num + 1
            if None in row or None in row.values():
                raise InputError(f"{where}: it has other than the {count} fields of the first line.")
            for key in {"answers", "ocr_tokens"} & row.keys():
                row[key] = _listed(where, row[key])
            yield where, row
    except csv.Error as error:
        raise InputError(f"{file}:{begin}: no CSV ({error}). A quotation mark may lack its partner.") from error


def _listed(where: str, value: str) -> Any:
    try:
        return json.loads(value) if value.lstrip().startswith("[") else value
    except ValueError as error:
        raise InputError(f"{where}: {value!r} is no JSON list ({error}).") from error


def _json_rows(file: Path, lines: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(lines, 1):
        where = f"{file}:{number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{where}: no JSON ({error}). The line reads: {line[:200].rstrip()!r}") from error
        if not isinstance(row, dict):
            raise InputError(f"{where}: no JSON object. The line reads: {line[:200].rstrip()!r}")
        yield where, row


def read_set(name: str, config: str | None, cache: Path, splits: Mapping[str, bool]) -> dict[str, QuestionSet]:
    """Read splits of a set of Hugging Face datasets with the columns of :func:`read_rows`.

    Args:
        name: of a set on the hub such as ``lmms-lab/textvqa``, or a folder with Parquet or Arrow files.
        config: which configuration of a set on the hub.
        cache: folder for sets that were converted to Arrow.
        splits: the splits, and whether their answers are needed.

    Raises:
        InputError: the set cannot be loaded, or lacks a split or a column.
    """
    from datasets import Image  # takes a second that other sources need not wait for

    found = load_splits(name, config, cache, "or give a folder of files with --data.root")
    sets = {}
    for split, labeled in splits.items():
        rows = next((found[set_name] for set_name in SET_NAMES[split] if set_name in found), None)
        if rows is None:
            raise InputError(
                f"{name}: there is no split {' or '.join(SET_NAMES[split])} but {', '.join(found)} (data.dataset)."
            )
        title = f"{name} ({split})" if config is None else f"{name}, {config} ({split})"
        _check_columns(title, rows.column_names, labeled)
        if not isinstance(rows.features["image"], Image):
            raise InputError(f"{title}: the column 'image' holds no images but {rows.features['image']}.")
        texts = [key for key in rows.column_names if key in ("question", "answers", "answer", "ocr_tokens")]
        images = ImageColumn(rows.select_columns("image").cast_column("image", Image(decode=False)))
        listed = ((f"{title}, row {number}", row) for number, row in enumerate(rows.select_columns(texts)))
        sets[split] = _texts(title, listed, images)
    return sets


def _check_columns(title: str, columns: Any, labeled: bool) -> None:
    for names in (("image",), ("question",), *((("answers", "answer"),) if labeled else ())):
        if not any(name in columns for name in names):
            raise InputError(f"{title}: there is no {' or '.join(names)!r} but {', '.join(columns)}; {COLUMNS}.")


def _collect(title: str, rows: Iterator[tuple[str, dict[str, Any]]], folder: Path, labeled: bool) -> QuestionSet:
    listed = list(rows)
    if not listed:
        raise InputError(f"{title}: it has no question; {COLUMNS}.")
    for where, row in listed:
        _check_columns(where, row, labeled)
    return _texts(title, iter(listed), ImageFiles([folder / str(row["image"] or "") for _, row in listed]))


def _texts(title: str, rows: Iterator[tuple[str, dict[str, Any]]], images: Images) -> QuestionSet:
    names, questions, answers, ocr = [], [], [], []
    for where, row in rows:
        names.append(where)
        questions.append(str(row["question"] or ""))
        answers.append(_words(where, row.get("answers", row.get("answer"))))
        ocr.append(_words(where, row.get("ocr_tokens")))
    return QuestionSet(title, names, questions, answers, ocr, images)


def _words(where: str, value: Any) -> list[str]:
    """A list of texts that are not empty: from a list of them, or of objects with ``answer``, a single one, or nothing.

    Raises:
        InputError: there is something else.
    """
    if isinstance(value, dict):  # columns of objects, as older sets have them
        value = value.get("answer")
    texts = []
    for one in value if isinstance(value, list) else [value]:
        said = one.get("answer") if isinstance(one, dict) else one
        if isinstance(said, bool) or not isinstance(said, str | int | float | None):
            raise InputError(f"{where}: {said!r} is no text; answers and ocr_tokens are texts, or lists of texts.")
        if said is not None and (text := str(said).strip()):
            texts.append(sys.intern(text))  # most answers come often
    return texts
