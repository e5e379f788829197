"""The same questions are read from every kind of source, and what is wrong with one is named with its place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from datamodules.images.image_file import read_image
from datamodules.vqa.annotations import read_published, read_rows, read_set, read_split
from datamodules.vqa.questions import QuestionSet
from sextant.errors import InputError
from tests.datamodules.vqa.question_files import (
    FILES,
    IMAGES,
    ROWS,
    SETS,
    SPLITS,
    WORDS,
    hub_rows,
    published,
    write_images,
)


def read(write: Callable[[Path], None], root: Path, labeled: bool = True) -> dict[str, QuestionSet]:
    """The splits of a source."""
    (root / "data").mkdir(parents=True)
    write(root)
    if write in SETS:
        return read_set(str(root), None, root.parent / "cache", dict.fromkeys(SPLITS, labeled))
    return {split: read_split(root, split, labeled) for split in SPLITS}


def pixels(rows: QuestionSet) -> list[np.ndarray]:
    return [np.asarray(read_image(rows.images[row])) for row in range(len(rows))]


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("write", [*FILES, *SETS])
def test_every_source_gives_the_same_questions_answers_words_and_pixels(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    found = read(write, tmp_path / "data")
    for split, expected in ROWS.items():
        rows = found[split]
        assert rows.questions == [question for _, question, _ in expected]
        assert rows.answers == [answers for _, _, answers in expected]
        assert rows.ocr == [WORDS[image] for image, _, _ in expected]
        assert len(rows) == len(rows.images) == len(set(rows.names)) == len(expected)
        for image, (name, _, _) in zip(pixels(rows), expected, strict=True):
            np.testing.assert_array_equal(image, np.asarray(read_image(IMAGES[name])))


@pytest.mark.parametrize(
    ("name", "content", "answers"),
    [
        ("train.csv", "image,question,answer\na.png,What?,one thing\n", ["one thing"]),
        ("train.csv", "image,question,answer\na.png,What?,[x]\n", ["[x]"]),
        ("train.csv", "image,question,answers\na.png,What?,One thing\n", ["One thing"]),
        ("train.csv", 'image,question,answers\na.png,What?,"[""one"", 2, null, "" ""]"\n', ["one", "2"]),
        ("train.csv", "\ufeffimage,question,answer\r\na.png,What?, one \r\n", ["one"]),
        ("train.jsonl", '{"image": "a.png", "question": "What?", "answer": "one"}\n', ["one"]),
        ("train.jsonl", '{"image": "a.png", "question": "What?", "answers": "one"}', ["one"]),
        ("train.jsonl", '{"image": "a.png", "question": "What?", "answers": ["one", null, 2, ""]}', ["one", "2"]),
        ("train.jsonl", '{"image": "a.png", "question": "What?", "answers": [{"answer": null}, {"a": 1}]}', []),
        ("train.jsonl", '{"image": "a.png", "question": "What?", "answers": null}', []),
        ("train.jsonl", '{"image": "a.png", "question": "What?", "answers": [], "ocr_tokens": null}', []),
    ],
)
def test_answers_are_one_text_or_a_list_and_empty_ones_are_none(
    tmp_path: Path, name: str, content: str, answers: list[str]
) -> None:
    (tmp_path / name).write_bytes(content.encode())
    rows = read_split(tmp_path, "train", labeled=True)
    assert (rows.questions, rows.answers, rows.ocr) == (["What?"], [answers], [[]])
    assert rows.source(0) == str(tmp_path / "a.png")


def test_published_annotations_come_before_lines_and_of_two_versions_the_newer(tmp_path: Path) -> None:
    for version in ("0.5", "0.5.1"):
        row = {"question": version, "image_id": "i", "answers": ["a"]}
        (tmp_path / f"TextVQA_{version}_train.json").write_text(json.dumps({"data": [row]}))
    (tmp_path / "train.jsonl").write_text("no JSON")
    rows = read_split(tmp_path, "train", labeled=True)
    assert rows.questions == ["0.5.1"]
    assert rows.source(0) == str(tmp_path / "train_images" / "i.jpg")


def test_recognized_words_alone_are_no_questions(tmp_path: Path) -> None:
    published(tmp_path)
    (tmp_path / "TextVQA_0.5.1_train.json").unlink()
    with pytest.raises(InputError, match="there is no train split"):
        read_split(tmp_path, "train", labeled=True)


def test_published_questions_without_numbers_are_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "TextVQA_0.5.1_train.json"
    file.write_text(json.dumps({"data": [{"question": "What?", "image_id": "i", "answers": ["a"]}] * 2}))
    with pytest.raises(InputError, match="2 of 2 questions") as error:
        read_split(tmp_path, "train", labeled=True).valid(tmp_path / "cache", labeled=True, invalid_samples="error")
    assert f"{file}, question 2 of the list: there is no image" in str(error.value)


def test_published_test_questions_have_no_answers_and_need_none_to_be_answered(tmp_path: Path) -> None:
    row = {"question_id": 7, "question": "What?", "image_id": "i"}
    file = tmp_path / "TextVQA_0.5.1_test.json"
    file.write_text(json.dumps({"data": [row]}))
    rows = read_split(tmp_path, "test", labeled=False)
    assert (rows.answers, rows.source(0)) == ([[]], str(tmp_path / "test_images" / "i.jpg"))
    with pytest.raises(InputError, match="there is no 'answers or answer'") as error:
        read_split(tmp_path, "test", labeled=True)
    assert f"{file}, question 7" in str(error.value)


@pytest.mark.parametrize("split", SPLITS)
def test_split_that_is_not_there_is_named_with_every_way_to_get_one(tmp_path: Path, split: str) -> None:
    with pytest.raises(InputError) as error:
        read_split(tmp_path / "nowhere", split, labeled=True)
    for needed in (
        *(str(tmp_path / "nowhere"), f"TextVQA_0.5.1_{split}.json", f"{split}.jsonl", f"{split}.csv", "--data.root"),
        *("--data.dataset=lmms-lab/textvqa", "https://textvqa.org", "configs/synthetic/flava_textvqa.yaml"),
    ):
        assert needed in str(error.value)


GOOD = '{"image": "a.png", "question": "What?", "answer": "x"}\n'
HEADING = "image,question,answers\n"


@pytest.mark.parametrize(
    ("name", "content", "place", "complaint"),
    [
        ("a.jsonl", GOOD * 2 + GOOD[:35] + "\n" + GOOD, ":3: ", "no JSON (Unterminated string"),
        ("a.jsonl", GOOD + "\n" + GOOD, ":2: ", "the line is blank, but each line is a question in JSON"),
        ("a.jsonl", GOOD + "[1, 2]\n", ":2: ", "no JSON object. The line reads: '[1, 2]'"),
        ("a.jsonl", GOOD + '{"image": "a.png", "answer": "x"}\n', ":2: ", "there is no 'question' but image, answer"),
        ("a.jsonl", GOOD + '{"question": "q", "answer": "x"}\n', ":2: ", "there is no 'image' but question, answer"),
        ("a.jsonl", GOOD + '{"question": "q", "image": "x"}\n', ":2: ", "there is no 'answers or answer'"),
        ("a.jsonl", "", ": ", "it has no question"),
        ("a.csv", "", ": ", "it has no question"),
        ("a.csv", HEADING, ": ", "it has no question"),
        ("a.csv", "a.png,What?,x\nb.png,Who?,y\n", ":2: ", "there is no 'image' but a.png, What?, x"),
        ("a.csv", HEADING + "a.png,What?,x\na.png,What?\n", ":3: ", "it has other than the 3 fields"),
        ("a.csv", HEADING + "a.png,What, really?,x\n", ":2: ", "it has other than the 3 fields"),
        ("a.csv", HEADING + 'a.png,"two\nlines",x\na.png,q,"[""x"","\n', ":4, answers: ", "no JSON (Expecting"),
        ("a.csv", HEADING + 'a.png,q,x\n"a.png,q,x\n' + "a.png,q,x\n" * 9, ":3: ", "no CSV (unexpected end of data)"),
        ("a.csv", HEADING + 'a.png,q,"x\na.png,q,x\n', ":2: ", "no CSV (unexpected end of data)"),
        ("a.jsonl", GOOD + GOOD.replace('"x"', "true"), ":2: ", "True is no text"),
        ("a.jsonl", GOOD + GOOD.replace('"x"', '[["x", "y"]]'), ":2: ", "['x', 'y'] is no text"),
        ("a.csv", HEADING + 'a.png,q,x\n"a.png,q,x\n' + "a.png,q,x\n" * 20_000, ":3: ", "no CSV (field larger"),
    ],
)
def test_damaged_line_is_named_with_file_and_line(
    tmp_path: Path, name: str, content: str, place: str, complaint: str
) -> None:
    (tmp_path / name).write_bytes(content.encode())
    with pytest.raises(InputError) as error:
        read_rows(tmp_path / name, labeled=True)
    assert str(error.value).startswith(f"{tmp_path / name}{place}")
    assert complaint in str(error.value)


def test_list_of_answers_after_a_space_is_a_list(tmp_path: Path) -> None:
    (tmp_path / "A.CSV").write_text(HEADING + 'a.png,q," [""x"", ""y""]"\n')
    assert read_rows(tmp_path / "A.CSV", labeled=True).answers == [["x", "y"]]


@pytest.mark.parametrize("image", ["a\0b.png", "a" * 300 + ".png", "a/" * 3000 + "b.png"])
def test_image_of_a_name_that_no_file_can_have_is_named(tmp_path: Path, image: str) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps({"image": image, "question": "What?", "answer": "x"}))
    rows = read_rows(file, labeled=True)
    with pytest.raises(InputError, match=r"1 of 1 questions of .* cannot be used") as error:
        rows.valid(tmp_path / "cache", labeled=True, invalid_samples="error")
    assert f"{file}:1: " in str(error.value)


@pytest.mark.parametrize("begin", ["[" * 3000, '{"a": ' * 3000])
def test_json_that_is_nested_too_deep_is_named(tmp_path: Path, begin: str) -> None:
    (tmp_path / "a.jsonl").write_text(GOOD + begin)
    (tmp_path / "a.csv").write_text(HEADING + f"a.png,q,{begin.replace(chr(34), chr(34) * 2)}\n")
    (tmp_path / "TextVQA_0.5.1_val.json").write_text(begin)
    with pytest.raises(InputError, match=r"a\.jsonl:2: the JSON is nested too deep"):
        read_rows(tmp_path / "a.jsonl", labeled=True)
    if begin.startswith("["):
        with pytest.raises(InputError, match=r"a\.csv:2, answers: the JSON is nested too deep"):
            read_rows(tmp_path / "a.csv", labeled=True)
    with pytest.raises(InputError, match=r"val\.json: the JSON is nested too deep"):
        read_split(tmp_path, "val", labeled=True)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
@pytest.mark.parametrize("change", [lambda t: t.replace("\n", "\r"), lambda t: t + "\n\n", lambda t: "\ufeff" + t])
def test_mark_line_ends_and_blank_last_lines_do_not_count(
    tmp_path: Path, name: str, change: Callable[[str], str]
) -> None:
    text = GOOD * 2 if name == "a.jsonl" else HEADING + "a.png,What?,x\n" * 2
    (tmp_path / name).write_bytes(change(text).encode())
    assert read_rows(tmp_path / name, labeled=True).questions == ["What?"] * 2


def test_blank_row_and_columns_of_one_name_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEADING + "a.png,What?,x\n\nb.png,What?,x\n")
    with pytest.raises(InputError, match=r"a\.csv:3: the line is blank, but each row is a question"):
        read_rows(tmp_path / "a.csv", labeled=True)
    (tmp_path / "a.csv").write_text("image,question,answer,answer\na.png,What?,x,y\n")
    with pytest.raises(InputError, match=r"a\.csv:1: two columns have the same name"):
        read_rows(tmp_path / "a.csv", labeled=True)


@pytest.mark.parametrize("before", [0, 1, 400])
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_byte_that_is_not_utf8_is_named_by_its_place_in_the_file(tmp_path: Path, name: str, before: int) -> None:
    (tmp_path / name).write_bytes(GOOD.encode() * before + b"caf\xe9\n")
    with pytest.raises(InputError, match=f"not UTF-8 at byte {before * len(GOOD) + 3} ") as error:
        read_rows(tmp_path / name, labeled=True)
    assert str(error.value).startswith(f"{tmp_path / name}:{before + 1}: ")


@pytest.mark.parametrize("name", ["missing.csv", "missing.jsonl", "."])
def test_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be read") as error:
        read_rows(tmp_path / name, labeled=False)
    assert str(error.value).startswith(str(tmp_path / name))


@pytest.mark.parametrize("content", ['{"data": [{"question', "[1]", "{}", '{"data": 1}', '{"data": [1]}', '"x"', "5"])
@pytest.mark.parametrize("ocr", [False, True])
def test_damaged_annotations_are_named(tmp_path: Path, content: str, ocr: bool) -> None:
    published(tmp_path)
    file = tmp_path / ("TextVQA_Rosetta_OCR_v0.2_val.json" if ocr else "TextVQA_0.5.1_val.json")
    file.write_text(content)
    with pytest.raises(InputError, match=r"not as TextVQA was published|no JSON") as error:
        read_split(tmp_path, "val", labeled=True)
    assert str(error.value).startswith(f"{file}: ")


@pytest.mark.parametrize("row", [{"image_id": "image1"}, {"image_id": "image1", "ocr_tokens": None}, {}])
def test_image_without_recognized_words_has_none(tmp_path: Path, row: dict[str, Any]) -> None:
    published(tmp_path)
    (tmp_path / "TextVQA_Rosetta_OCR_v0.2_val.json").write_text(json.dumps({"data": [row]}))
    assert read_published(tmp_path / "TextVQA_0.5.1_val.json", "val", labeled=True).ocr == [[], []]


# Sets


def load(folder: Path, **splits: bool) -> dict[str, QuestionSet]:
    return read_set(str(folder), None, folder.parent / "cache", splits or {"train": True})


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("column", ["image", "question", "answers"])
def test_set_without_a_column_is_named_with_the_columns_that_it_has(tmp_path: Path, column: str) -> None:
    hub_rows().remove_columns(column).save_to_disk(tmp_path / "set")
    with pytest.raises(InputError) as error:
        load(tmp_path / "set")
    assert str(error.value).startswith(f"{tmp_path / 'set'} (train): there is no '{column}")
    assert all(name in str(error.value) for name in ("image_id", "ocr_tokens"))


@pytest.mark.usefixtures("offline")
def test_set_without_answers_can_be_answered(tmp_path: Path) -> None:
    hub_rows().remove_columns(["answers", "ocr_tokens"]).save_to_disk(tmp_path / "set")
    rows = load(tmp_path / "set", test=False)["test"]
    assert (rows.questions, rows.answers, rows.ocr) == (["What time is it?"], [[]], [[]])


@pytest.mark.usefixtures("offline")
def test_column_that_holds_no_images_is_named(tmp_path: Path) -> None:
    rows = datasets.Dataset.from_dict({"image": ["a.png"], "question": ["q"], "answer": ["x"]})
    datasets.DatasetDict(train=rows).save_to_disk(tmp_path / "set")
    with pytest.raises(InputError, match="the column 'image' holds no images but Value"):
        load(tmp_path / "set")


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", ["validation", "val", "valid", "dev"])
def test_validation_split_has_any_of_its_names(tmp_path: Path, name: str) -> None:
    datasets.DatasetDict({name: hub_rows()["validation"]}).save_to_disk(tmp_path / "set")
    assert load(tmp_path / "set", val=True)["val"].questions == ["Who?", "How many?"]
    with pytest.raises(InputError, match=rf"there is no split train but {name} \(data\.dataset\)"):
        load(tmp_path / "set")


@pytest.mark.usefixtures("offline")
def test_values_that_are_null_are_named_as_what_is_missing(tmp_path: Path) -> None:
    rows = hub_rows()["train"].to_list()
    rows[0]["image"], rows[1]["question"], rows[2]["answers"] = None, None, None
    datasets.DatasetDict(train=datasets.Dataset.from_list(rows, hub_rows()["train"].features)).save_to_disk(
        tmp_path / "set"
    )
    with pytest.raises(InputError, match="3 of 3 questions") as error:
        load(tmp_path / "set")["train"].valid(tmp_path / "cache", labeled=True, invalid_samples="error")
    whole = str(error.value).split("\n")
    title = f"  {tmp_path / 'set'} (train), row"
    assert whole[1:4] == [
        f"{title} 0: there is no image",
        f"{title} 1: the question is empty",
        f"{title} 2: there is no answer to the question",
    ]


def test_null_values_in_lines_are_named_too(tmp_path: Path) -> None:
    write_images(tmp_path)
    good = {"image": "image0.jpg", "question": "q", "answers": ["x"]}
    rows = [good | {key: None} for key in good]
    (tmp_path / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    with pytest.raises(InputError, match="3 of 3 questions") as error:
        read_rows(tmp_path / "a.jsonl", labeled=True).valid(tmp_path / "cache", labeled=True, invalid_samples="error")
    for number, why in enumerate(("there is no image", "the question is empty", "there is no answer"), 1):
        assert f"{tmp_path / 'a.jsonl'}:{number}: {why}" in str(error.value)
