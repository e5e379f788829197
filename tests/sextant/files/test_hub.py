"""The Hugging Face hub where it cannot be reached."""

from collections.abc import Iterator
from pathlib import Path

import datasets
import pytest
from huggingface_hub import constants

from datamodules.sources.hub import load_splits
from datamodules.vqa.tokenizer import QuestionTokenizer
from modules.networks.flava import pretrained_flava
from sextant.errors import InputError
from sextant.files import hub


@pytest.fixture(autouse=True)
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The hub at a port where nobody listens, and nothing that was downloaded before."""
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for module in (constants, datasets.config):
        monkeypatch.setattr(module, "HF_HUB_OFFLINE", False)
    hub._look.cache_clear()
    yield
    hub._look.cache_clear()


@pytest.mark.parametrize("what", ["model", "tokenizer", "data"])
def test_hub_out_of_reach_is_said_in_one_line_and_not_tried_again(
    what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("INFO")
    with pytest.raises(InputError, match=r"^some/thing: .* (be loaded|couldn't)"):
        load(what, "some/thing", tmp_path)
    said = [line for line in (caplog.text + capfd.readouterr().err).splitlines() if line.strip()]
    assert len(said) == 1, said
    assert "http://127.0.0.1:9 does not answer" in said[0]
    assert "Retrying" not in said[0]


@pytest.mark.parametrize("what", ["model", "tokenizer", "data"])
def test_hub_is_not_asked_for_a_folder(what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(InputError):
        load(what, str(folder), tmp_path)
    assert "does not answer" not in caplog.text


def load(what: str, name: str, cache: Path) -> None:
    if what == "model":
        pretrained_flava(name)
    elif what == "tokenizer":
        QuestionTokenizer(name, 8)
    else:
        load_splits(name, None, cache, "or give another")
