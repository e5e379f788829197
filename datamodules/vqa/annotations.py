"""Questions about images from files: TextVQA's annotations as they were published, JSON lines, CSV."""

import csv
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from datamodules.sources.hub import load_splits
from datamodules.sources.near_root import near_root
from datamodules.vqa.questions import ImageColumn, ImageFiles, Images, QuestionSet
from sextant.errors import InputError
from sextant.files.json_file import parse_json, read_json
from sextant.files.text_file import entries, sized_lines

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
    file = find_split(root, split)
    if file is None:
        raise no_split(root, split)
    return read_published(file, split, labeled) if file.suffix == ".json" else read_rows(file, labeled)


def find_split(root: Path, split: str) -> Path | None:
    """The file of a split in a folder; None if there is none.

    Args:
        root: the folder.
        split: ``train``, ``val`` or ``test``.
    """
    published = sorted(file for file in root.glob(f"TextVQA_*_{split}.json") if "OCR" not in file.name)
    if published:
        return max(published, key=_version)
    return next((file for suffix in (".jsonl", ".csv") if (file := root / f"{split}{suffix}").is_file()), None)


def no_split(root: Path, split: str) -> InputError:
    """What to say where a folder has not the questions of a split.

    Args:
        root: the folder.
        split: ``train``, ``val`` or ``test``.
    """
    near = near_root(root, f"TextVQA_*_{split}.json", f"{split}.jsonl", f"{split}.csv")
    return InputError(
        f"{root}: there is no {split} split: neither TextVQA_0.5.1_{split}.json nor {split}.jsonl nor {split}.csv "
        f"(data.root).{near} Get TextVQA from the Hugging Face hub with --data.dataset=lmms-lab/textvqa, or from "
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
    content = read_json(file)
    rows = content.get("data") if isinstance(content, dict) else None
    if not (isinstance(rows, list) and all(isinstance(row, dict) for row in rows)):
        raise InputError(
            f"{file}: not as TextVQA was published, JSON with a list 'data' of objects. The file may be damaged; get "
            "it anew from https://textvqa.org."
        )
    return rows


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
    rows = _csv_rows(file) if file.suffix.lower() == ".csv" else _json_rows(file)
    return _collect(str(file), rows, file.parent, labeled)


def _csv_rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    lines = (line for line, _ in sized_lines(file))
    table = csv.reader(lines, strict=True)
    begin, blank = 1, None
    names: list[str] | None = None
    try:
        for row in table:
            where = f"{file}:{table.line_num}"
            begin = table.line_num + 1
            if not row:
                blank = blank or table.line_num
            elif blank is not None:
                raise InputError(f"{file}:{blank}: the line is blank, but each row is a question. Remove it.")
            elif names is None:
                names = row
                if len(set(names)) < len(names):
                    raise InputError(f"{where}: two columns have the same name: {', '.join(names)}. Rename one.")
            elif len(row) != len(names):
                raise InputError(f"{where}: it has other than the {len(names)} fields of the first line.")
            else:
                yield where, {name: _listed(where, name, value) for name, value in zip(names, row, strict=True)}
    except csv.Error as error:
        raise InputError(f"{file}:{begin}: no CSV ({error}). A quotation mark may lack its partner.") from error


def _listed(where: str, name: str, value: str) -> Any:
    """A field of CSV, which may be a list as JSON in the columns that can have one."""
    is_list = name in ("answers", "ocr_tokens") and value.lstrip().startswith("[")
    return parse_json(value, f"{where}, {name}") if is_list else value


def _json_rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in entries(file, "a question in JSON"):
        where = f"{file}:{number}"
        row = parse_json(line, where)
        if not isinstance(row, dict):
            raise InputError(f"{where}: no JSON object. The line reads: {line[:200].rstrip()!r}")
        yield where, row


def load_set(name: str, config: str | None, cache: Path) -> Any:
    """Load all splits of a set of Hugging Face datasets, which downloads it the first time; as :func:`read_set`."""
    return load_splits(name, config, cache, "or give a folder of files with --data.root")


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

    found = load_set(name, config, cache)
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
