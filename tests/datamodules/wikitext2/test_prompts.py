"""Prompts come one by one, and what is wrong with one is named."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from datamodules.text.token_stream import EOS
from datamodules.wikitext2 import WikiText2
from sextant.errors import InputError
from tests.datamodules.text_data import during


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


@pytest.mark.parametrize("number", [1, 2, 19, 37, 38, 39])
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
def test_prompts_are_given_to_two_processes_or_refused_with_advice_that_helps(
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
