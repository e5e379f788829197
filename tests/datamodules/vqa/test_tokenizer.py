"""Questions become the tokens of a tokenizer from local files, and without one it is said what to do."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from transformers import BertTokenizer

from datamodules.vqa.tokenizer import QuestionTokenizer
from sextant.errors import InputError
from tests.mutations import require_only_input_errors

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
TOKENS = [*SPECIAL_TOKENS, "what", "is", "it", "?", "st", "##op", "red", "[MASK]"]
PAD, UNK, CLS, SEP, WHAT, IS, IT, ASK, ST, OP, RED = range(11)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a vocabulary of twelve subwords."""
    (tmp_path / "vocab.txt").write_text("".join(f"{token}\n" for token in TOKENS))
    return tmp_path


def as_file(folder: Path) -> Path:
    return folder / "vocab.txt"


def as_file_of_another_name(folder: Path) -> Path:
    return (folder / "vocab.txt").rename(folder / "bert.vocab")


def as_folder(folder: Path) -> Path:
    return folder


def as_file_of_windows(folder: Path) -> Path:
    (folder / "vocab.txt").write_bytes("\r\n".join(TOKENS).encode())
    return folder / "vocab.txt"


def as_saved_tokenizer(folder: Path) -> Path:
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder / "saved")
    assert not (folder / "saved" / "vocab.txt").exists()
    return folder / "saved"


def as_saved_tokenizer_with_another_vocabulary(folder: Path) -> Path:
    saved = as_saved_tokenizer(folder)
    (saved / "vocab.txt").write_text("\n".join((*SPECIAL_TOKENS, "[MASK]", "blue")))
    return saved


@pytest.mark.parametrize(
    "kind",
    [
        *(as_file, as_file_of_another_name, as_file_of_windows, as_folder),
        *(as_saved_tokenizer, as_saved_tokenizer_with_another_vocabulary),
    ],
)
def test_tokenizer_from_any_local_files_cuts_questions_into_the_same_tokens(
    folder: Path, kind: Callable[[Path], Path]
) -> None:
    tokenizer = QuestionTokenizer(str(kind(folder)), 16)
    assert len(tokenizer) == len(TOKENS)
    tokens, truncated = tokenizer.encode(["What is it?", "STOP", "is it blue"])
    assert [one.tolist() for one in tokens] == [
        [CLS, WHAT, IS, IT, ASK, SEP],
        [CLS, ST, OP, SEP],
        [CLS, IS, IT, UNK, SEP],
    ]
    assert all(one.dtype == np.int64 for one in tokens)
    assert truncated == 0


@pytest.mark.parametrize(("max_length", "cut"), [(6, 0), (5, 1), (4, 2), (3, 3)])
def test_questions_that_are_too_long_lose_their_end_and_are_counted(folder: Path, max_length: int, cut: int) -> None:
    whole = [[WHAT, IS, IT, ASK], [RED, RED, RED], [IT, IT], [IT]]
    found, lost = QuestionTokenizer(str(folder), max_length).encode(["what is it?", "red red red", "it it", "it"])
    assert [one.tolist() for one in found] == [[CLS, *one[: max_length - 2], SEP] for one in whole]
    assert lost == cut


def test_words_of_the_image_follow_the_question_after_a_mark(folder: Path) -> None:
    tokens, truncated = QuestionTokenizer(str(folder), 8).encode(["what is it?", "what?"], ["stop", "red " * 100])
    assert tokens[0].tolist() == [CLS, WHAT, IS, IT, SEP, ST, OP, SEP]  # the longer one loses its end
    assert tokens[1].tolist() == [CLS, WHAT, ASK, SEP, RED, RED, RED, SEP]
    assert truncated == 2


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    "source", ["facebook/flava-full", "nowhere/vocab.txt", "/no/such/folder", "empty", "not a name", ""]
)
def test_without_a_tokenizer_it_is_said_what_to_give_and_nothing_is_asked_of_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"Give a vocab\.txt, a folder .* --data\.preprocessing\.tokenizer=") as error:
        QuestionTokenizer(source, 8)
    assert str(error.value).startswith(f"{source}: no tokenizer can be loaded")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("mark", SPECIAL_TOKENS)
def test_file_without_a_special_token_is_no_vocabulary(folder: Path, mark: str) -> None:
    (folder / "vocab.txt").write_text("\n".join(token for token in TOKENS if token != mark))
    with pytest.raises(InputError, match=r"--data\.preprocessing\.tokenizer=") as error:
        QuestionTokenizer(str(folder), 8)
    assert str(folder / "vocab.txt") in str(error.value)
    assert f"{mark} is missing" in str(error.value)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_damaged_tokenizer_is_named(folder: Path, name: str) -> None:
    saved = as_saved_tokenizer(folder)
    (saved / name).write_text("{")
    with pytest.raises(InputError, match="no tokenizer can be loaded") as error:
        QuestionTokenizer(str(saved), 8)
    assert str(saved) in str(error.value)


def test_vocabulary_that_is_not_utf8_is_named(folder: Path) -> None:
    (folder / "vocab.txt").write_bytes(b"[PAD]\n[UNK]\n\xe9\n")
    with pytest.raises(InputError, match=r"not UTF-8 at byte 12 \(0xe9\)") as error:
        QuestionTokenizer(str(folder), 8)
    assert str(error.value).startswith(f"{folder / 'vocab.txt'}:3: ")


@pytest.mark.parametrize("mark", SPECIAL_TOKENS)
def test_subword_that_is_listed_twice_is_named_with_its_lines(folder: Path, mark: str) -> None:
    """Its id would be that of the last line, beyond the number of subwords."""
    (folder / "vocab.txt").write_text("\n".join([*TOKENS, mark]))
    with pytest.raises(
        InputError, match=f"{re.escape(repr(mark))} is there already, in line {TOKENS.index(mark) + 1}"
    ) as error:
        QuestionTokenizer(str(folder), 8)
    assert str(error.value).startswith(f"{folder / 'vocab.txt'}:{len(TOKENS) + 1}: ")


@pytest.mark.parametrize("written", ["\ufeff{}", "{}\n\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_a_byte_order_mark_and_blank_last_lines_of_a_vocabulary_do_not_count(
    folder: Path, written: str, end: str
) -> None:
    expected = QuestionTokenizer(str(folder), 8)
    text = written.format("\n".join(TOKENS)).replace("\n", end)
    (folder / "vocab.txt").write_bytes(text.encode())
    found = QuestionTokenizer(str(folder), 8)
    assert len(found) == len(expected) == len(TOKENS)
    (before,), _ = expected.encode([" ".join(TOKENS)])
    (after,), _ = found.encode([" ".join(TOKENS)])
    assert before.tolist() == after.tolist()


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.fuzz
def test_saved_tokenizer_with_any_damage_is_read_or_refused(folder: Path, name: str) -> None:
    saved = as_saved_tokenizer(folder)
    require_only_input_errors(saved / name, lambda: QuestionTokenizer(str(saved), 8).encode(["what is it?"]), 60)
