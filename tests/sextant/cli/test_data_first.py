"""Data is looked for before weights are downloaded for the model."""

import sys
from pathlib import Path
from typing import Any

import pytest

from sextant.errors import InputError
from train import SHARED_CONFIG, main

WEIGHTS = {
    "resnet_tiny_imagenet": ["--model.weights=IMAGENET1K_V1"],
    "deeplab_voc": [],
    "flava_textvqa": ["--data.dataset=null"],
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is downloaded, which fails."""
    asked: list[Any] = []

    def download(*what: Any, **options: Any) -> None:
        asked.append(what)
        raise OSError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", download)
    monkeypatch.setattr("modules.networks.flava.AutoConfig.from_pretrained", download)
    monkeypatch.setattr("modules.networks.flava.look_for_hub", lambda name: None)
    return asked


def arguments(workload: str) -> list[str]:
    return [f"--config={SHARED_CONFIG.parent / workload}.yaml", *WEIGHTS[workload], "--trainer.accelerator=cpu"]


@pytest.mark.parametrize("workload", WEIGHTS)
@pytest.mark.parametrize("command", ["fit", "validate"])
def test_missing_data_is_said_before_anything_is_downloaded(command: str, workload: str, downloads: list[Any]) -> None:
    with pytest.raises(InputError, match=r"^nowhere: there is no .*\(data\.root\)"):
        main([command, *arguments(workload), "--data.root=nowhere"])
    assert not downloads


@pytest.mark.parametrize(("command", "split"), [("fit", "train"), ("validate", "val"), ("test", "test")])
def test_split_that_a_command_needs_is_named(command: str, split: str) -> None:
    with pytest.raises(InputError, match=rf"^nowhere: there is no {split} split: .* nor {split}\.csv"):
        main([command, *arguments("flava_textvqa"), "--data.root=nowhere"])


def test_weights_are_downloaded_where_there_is_data(tiny_imagenet: Path, downloads: list[Any]) -> None:
    with pytest.raises(InputError, match="IMAGENET1K_V1 could not be downloaded"):
        main(["fit", *arguments("resnet_tiny_imagenet"), f"--data.root={tiny_imagenet}"])
    assert len(downloads) == 1
