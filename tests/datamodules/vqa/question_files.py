"""Few questions about images, in every kind of file that they may come in."""

import csv
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
from PIL import Image

from tests.noise_images import noise

SPLITS = ("train", "val", "test")
HUB_NAMES = {"train": "train", "val": "validation", "test": "test"}
FOLDERS = {"train": "train_images", "val": "train_images", "test": "test_images"}


def jpeg(seed: int) -> bytes:
    file = BytesIO()
    Image.fromarray(noise(seed, 12 + seed, 20, 3)).save(file, "JPEG")
    return file.getvalue()


IMAGES = {f"image{k}": jpeg(k) for k in range(4)}
#: The id of an image, the question, what the annotators answered.
ROWS: dict[str, list[tuple[str, str, list[str]]]] = {
    "train": [
        ("image0", "What does it say?", ["stop"] * 9 + ["halt"]),
        ("image1", 'Is it "red", or not?', ["yes", "no"] * 5),
        ("image0", "Quel caf\u00e9,\nle matin?", ["[unreadable]"] * 10),
    ],
    "val": [("image1", "Who?", ["the queen"] * 10), ("image2", "How many?", ["1,000"])],
    "test": [("image3", "What time is it?", ["10:30"] * 10)],
}
WORDS = {"image0": ["STOP", "the, \u00e9"], "image1": [], "image2": ["1,000"], "image3": ["[x]"]}


def write_images(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in IMAGES.items():
        (folder / f"{name}.jpg").write_bytes(content)


def published(root: Path) -> None:
    """As TextVQA was published, with the words that Rosetta recognized."""
    for split, rows in ROWS.items():
        write_images(root / FOLDERS[split])
        listed = [
            {"question_id": k, "image_id": image, "question": question, "answers": answers, "image_width": 20}
            for k, (image, question, answers) in enumerate(rows)
        ]
        (root / f"TextVQA_0.5.1_{split}.json").write_text(json.dumps({"dataset_type": split, "data": listed}))
        words = [{"image_id": image, "ocr_tokens": words, "ocr_info": []} for image, words in WORDS.items()]
        (root / f"TextVQA_Rosetta_OCR_v0.2_{split}.json").write_text(json.dumps({"data": words}))


def plain_rows(split: str, answers: Callable[[list[str]], Any] = list) -> list[dict[str, Any]]:
    return [
        {"image": f"{image}.jpg", "question": question, "answers": answers(given), "ocr_tokens": WORDS[image]}
        for image, question, given in ROWS[split]
    ]


def json_lines(root: Path) -> None:
    write_images(root)
    for split in SPLITS:
        (root / f"{split}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in plain_rows(split)))


def json_lines_of_answer_objects(root: Path) -> None:
    """With answers as VQA v2 has them, an absolute path, and a byte order mark."""
    write_images(root)
    for split in SPLITS:
        rows = plain_rows(split, lambda given: [{"answer_id": k, "answer": one} for k, one in enumerate(given)])
        rows[0]["image"] = str(root / rows[0]["image"])
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (root / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8-sig")


def comma_separated(root: Path) -> None:
    write_images(root / "images")
    for split in SPLITS:
        with (root / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, ["ocr_tokens", "answers", "image", "question"])
            table.writeheader()
            for row in plain_rows(split):
                lists = {key: json.dumps(row[key], ensure_ascii=False) for key in ("answers", "ocr_tokens")}
                table.writerow(row | lists | {"image": f"images/{row['image']}"})


TEXT = datasets.Value("string")
TEXTS = datasets.List(TEXT)


def hub_rows(answers: Callable[[list[str]], Any] = list, kind: Any = TEXTS) -> datasets.DatasetDict:
    features = datasets.Features(image=datasets.Image(), image_id=TEXT, question=TEXT, answers=kind, ocr_tokens=TEXTS)
    found = datasets.DatasetDict()
    for split in SPLITS:
        rows = [
            row | {"image": {"bytes": IMAGES[image], "path": None}, "image_id": image}
            for row, (image, _, _) in zip(plain_rows(split, answers), ROWS[split], strict=True)
        ]
        found[HUB_NAMES[split]] = datasets.Dataset.from_list(rows, features)
    return found


def parquet(root: Path) -> None:
    for split, rows in hub_rows().items():
        rows.to_parquet(root / "data" / f"{split}-00000-of-00001.parquet")


def parquet_of_answer_columns(root: Path) -> None:
    """As sets of older versions hold objects: a column of lists for each of their fields."""
    kind = {"answer": TEXTS, "answer_confidence": TEXTS}
    found = hub_rows(lambda given: {"answer": given, "answer_confidence": ["yes"] * len(given)}, kind)
    for split, rows in found.items():
        rows.to_parquet(root / f"{split}.parquet")


def parquet_of_answer_objects(root: Path) -> None:
    kind = datasets.List({"answer": TEXT})
    for split, rows in hub_rows(lambda given: [{"answer": one} for one in given], kind).items():
        rows.to_parquet(root / f"{split}.parquet")


def arrow(root: Path) -> None:
    hub_rows().save_to_disk(root)


FILES = (published, json_lines, json_lines_of_answer_objects, comma_separated)
SETS = (parquet, parquet_of_answer_objects, parquet_of_answer_columns, arrow)
